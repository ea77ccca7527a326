"""Prices, packages and plans that staff change: never alone."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

import audit
from audit import approvals
from audit.models import Approval
from billing.models import CreditPrice, Package, Plan
from core import public
from core.errors import Conflict, Invalid, NotFound
from core.killpoints import reach
from core.money import display

REPRICE = "billing.reprice_package"
CARRY_OUT = "billing.staff_prices.carry_out"

Priced = Package | CreditPrice | Plan
# What may be changed of each, by the names that audit rows and payloads carry.
FIELDS: dict[str, tuple[type[Any], tuple[str, ...]]] = {
    "package": (Package, ("name", "amount", "credits", "is_popular", "is_shown", "is_for_sale")),
    "credit_price": (CreditPrice, ("amount", "least", "most", "is_for_sale")),
    "plan": (Plan, ("name", "amount", "credits", "max_avatars", "is_for_sale")),
}
# What a subscriber has agreed to: other terms are another edition of the plan.
TERMS = ("amount", "credits", "max_avatars")


def kind_of(row: Priced) -> str:
    return next(kind for kind, (model, _) in FIELDS.items() if isinstance(row, model))


def figures(row: Priced) -> dict[str, Any]:
    """What may be changed, as it is."""
    return {field: getattr(row, field) for field in FIELDS[kind_of(row)][1]}


def preview(row: Priced, new: dict[str, Any]) -> list[str]:
    """What would change, old → new, and what the same costs in other currencies, which stays.

    Raises: Invalid for what cannot be sold so.
    """
    old = figures(row)
    _insist(row, new)
    lines = [
        f"{field.replace('_', ' ')}: {_shown(row, field, was)} → {_shown(row, field, new[field])}"
        for field, was in old.items()
        if new[field] != was
    ]
    return lines + [f"stays: {display(other.amount, other.currency)} in {other.currency}" for other in _others(row)]


def _others(row: Priced) -> list[Any]:
    """The same thing in other currencies."""
    same: QuerySet[Any]
    if isinstance(row, CreditPrice):
        same = CreditPrice.objects.all()
    elif isinstance(row, Package):
        same = Package.objects.filter(code=row.code)
    else:
        same = Plan.objects.filter(code=row.code, interval=row.interval, retired_at=None)
    return list(same.exclude(currency=row.currency).order_by("currency"))


def _shown(row: Priced, field: str, value: Any) -> str:
    if field == "amount":
        return display(value, row.currency)
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _insist(row: Priced, new: dict[str, Any]) -> None:
    """Raises: Invalid for figures that the table would refuse, or that change nothing."""
    kind = kind_of(row)
    if set(new) != set(FIELDS[kind][1]):
        raise Invalid("Name every figure, changed or not.")
    if new == figures(row):
        raise Invalid("Nothing would change.")
    asked = FIELDS[kind][0](**{field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields})
    for field, value in new.items():
        setattr(asked, field, value)
    asked._state.adding = False
    try:
        asked.clean_fields(exclude={"id", "created_at", "price_ref", "retired_at"})
        asked.validate_constraints()
    except ValidationError as error:
        raise Invalid(" ".join(error.messages)) from error


def ask(
    *, request_id: uuid.UUID, kind: str, row_id: uuid.UUID, new: dict[str, Any], reason: str, actor: Any
) -> Approval:
    """Ask a colleague to let figures change. `new` names all that may be changed, so that what is approved is whole.

    Idempotent: by request_id.
    Units: the currency's minor unit.
    Raises: NotFound, PermissionDenied, Invalid, Conflict for the same id with other figures.
    """
    approvals.insist(actor, REPRICE)
    if known := approvals.asked_before(request_id, {"row": str(row_id), "new": new}):
        return known
    row: Priced | None = FIELDS[kind][0].objects.filter(pk=row_id).first()
    if row is None:
        raise NotFound
    if isinstance(row, Plan) and row.retired_at:
        raise Conflict("This edition of the plan is replaced; change the one that is sold.")
    changes = [line for line in preview(row, new) if "→" in line]
    with transaction.atomic():
        return approvals.request(
            CARRY_OUT,
            approval_id=request_id,
            payload={"kind": kind, "row": str(row_id), "old": figures(row), "new": new},
            summary=f"{row}: {', '.join(changes)}",
            unit=row.currency,
            amount=0,
            customer_id=None,
            reason=reason,
            requester=actor,
        )


@audit.writes("price")
def carry_out(approval: Approval) -> None:
    """Change what a colleague has approved, in that transaction, if it is still as both of them saw it.

    Payments and subscriptions that have begun keep what they were told. Locks: the row. Raises: Conflict.
    """
    kind, old, new = (approval.payload[name] for name in ("kind", "old", "new"))
    rows = FIELDS[kind][0].objects.select_for_update(of=("self",), no_key=True)
    row: Priced = rows.get(pk=uuid.UUID(approval.payload["row"]))
    if figures(row) != old or (isinstance(row, Plan) and row.retired_at):
        raise Conflict("This has changed since it was asked for; it has to be asked for anew.")
    if isinstance(row, Plan) and any(new[term] != old[term] for term in TERMS):
        row = _next_edition(row)
    for field, value in new.items():
        setattr(row, field, value)
    row.save()
    reach("prices.changed")
    audit.record(
        f"{kind}.repriced",
        (kind, row.pk),
        old=old,
        new=new,
        metadata={"reason": approval.reason, "approval": approval.pk, "was": approval.payload["row"]},
        actor_id=approval.requester_id,
    )
    public.changed("prices")


def _next_edition(plan: Plan) -> Plan:
    """A plan to be sold in the place of this one, whose subscribers keep it; the gateway gets its price from sync_plans
    or the first buyer."""
    Plan.objects.filter(pk=plan.pk).update(retired_at=Now())
    return Plan(
        code=plan.code,
        interval=plan.interval,
        currency=plan.currency,
        position=plan.position,
        edition=plan.edition + 1,
    )

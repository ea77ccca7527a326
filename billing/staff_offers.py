"""Something new that is sold, after the likeness of what is: another package, plan or currency. Never by one alone."""

from __future__ import annotations

import re
import uuid
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

import audit
from audit import approvals
from audit.models import Approval
from billing import gateways
from billing.models import Interval, Plan
from billing.staff_prices import FIELDS, REPRICE, Priced, figures, kind_of
from core import public
from core.errors import Conflict, Invalid, NotFound
from core.killpoints import reach
from core.money import display

CARRY_OUT = "billing.staff_offers.carry_out"

# What tells one row of a kind from another. Plans are sold in one currency.
NAMES: dict[str, tuple[str, ...]] = {
    "package": ("code", "currency"),
    "credit_price": ("currency",),
    "plan": ("code", "interval"),
}
_CODE = re.compile(r"[A-Za-z0-9_-]{1,32}")


def terms(row: Priced) -> dict[str, Any]:
    """The names and figures of what is sold, for another one to begin with."""
    return {name: getattr(row, name) for name in NAMES[kind_of(row)]} | figures(row)


def preview(like: Priced, new: dict[str, Any]) -> list[str]:
    """What would be sold.

    Raises: Invalid for what cannot be sold so, Conflict for what is there already.
    """
    made = _made(like, new)
    price = display(made.amount, made.currency)
    rest = [f"{name.replace('_', ' ')}: {value}" for name, value in new.items() if name != "amount"]
    return [f"new: {made}", f"price: {price}", *rest]


def _made(like: Priced, new: dict[str, Any]) -> Any:
    """The row, not saved. Raises: Invalid, Conflict."""
    kind = kind_of(like)
    model, fields = FIELDS[kind]
    if set(new) != {*NAMES[kind], *fields}:
        raise Invalid("Name everything that there is to say of it.")
    given = dict(new)
    if "code" in given:
        if not _CODE.fullmatch(given["code"]):
            raise Invalid("A code is of letters, digits, _ and -, at most 32 of them.")
        given["code"] = given["code"].lower() if kind == "plan" else given["code"].upper()
    if "interval" in given and given["interval"] not in Interval.values:
        raise Invalid(f"A plan goes by the {' or the '.join(Interval.values)}.")
    given["currency"] = given.get("currency", like.currency).upper()
    if not any(given["currency"] in gateway.currencies for gateway in gateways.GATEWAYS.values()):
        raise Invalid(f"No gateway takes {given['currency']}.")
    if hasattr(like, "position"):
        given["position"] = like.position
    made = model(**given)
    try:
        made.clean_fields(exclude={"price_ref", "retired_at"})
        if model.objects.filter(**_identity(made)).exists():
            raise Conflict(f"{made} is there already; change that one.")
        made.validate_constraints()
    except ValidationError as error:
        raise Invalid(" ".join(error.messages)) from error
    return made


def _identity(row: Any) -> dict[str, Any]:
    names = {name: getattr(row, name) for name in NAMES[kind_of(row)]}
    return names | ({"currency": row.currency} if isinstance(row, Plan) else {})


def ask(
    *, request_id: uuid.UUID, kind: str, like_id: uuid.UUID, new: dict[str, Any], reason: str, actor: Any
) -> Approval:
    """Ask a colleague to let something be sold. `new` has all of `terms`; what is not in it is as with its likeness.

    Idempotent: by request_id.
    Units: the currency's minor unit.
    Raises: NotFound, PermissionDenied, Invalid, Conflict.
    """
    approvals.insist(actor, REPRICE)
    if known := approvals.asked_before(request_id, {"like": str(like_id), "new": new}):
        return known
    like: Priced | None = FIELDS[kind][0].objects.filter(pk=like_id).first()
    if like is None:
        raise NotFound
    made = _made(like, new)
    with transaction.atomic():
        return approvals.request(
            CARRY_OUT,
            approval_id=request_id,
            payload={"kind": kind, "like": str(like_id), "new": new},
            summary=f"Sell {'; '.join(preview(like, new))}",
            unit=made.currency,
            amount=0,
            customer_id=None,
            reason=reason,
            requester=actor,
        )


@audit.writes("price")
def carry_out(approval: Approval) -> None:
    """Sell what a colleague has approved, in that transaction. Raises: Conflict when it is there by now."""
    kind, new = approval.payload["kind"], approval.payload["new"]
    like: Priced = FIELDS[kind][0].objects.get(pk=uuid.UUID(approval.payload["like"]))
    made = _made(like, new)
    made.save(force_insert=True)
    reach("prices.changed")
    audit.record(
        f"{kind}.added",
        (kind, made.pk),
        new=new,
        metadata={"reason": approval.reason, "approval": approval.pk},
        actor_id=approval.requester_id,
    )
    public.changed("prices")

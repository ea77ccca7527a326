"""What operations cost, as staff change it: never alone."""

from __future__ import annotations

import copy
import uuid
from fractions import Fraction
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

import audit
from audit import approvals
from audit.models import Approval
from billing.staff_prices import REPRICE
from core import public
from core.errors import Conflict, Invalid, NotFound
from core.money import CREDIT, display
from generation.models import Operation

CARRY_OUT = "generation.staff_prices.carry_out"
FIELDS = ("base_price", "multipliers")


def figures(operation: Operation) -> dict[str, Any]:
    """What may be changed, as it is."""
    return {field: getattr(operation, field) for field in FIELDS}


def preview(operation: Operation, new: dict[str, Any]) -> list[str]:
    """What would change, old → new.

    Raises: Invalid for what cannot be sold so.
    """
    _insist(operation, new)
    return [
        f"{field.replace('_', ' ')}: {_shown(field, was)} → {_shown(field, new[field])}"
        for field, was in figures(operation).items()
        if new[field] != was
    ]


def _shown(field: str, value: Any) -> str:
    return display(value, CREDIT) if field == "base_price" else str(value)


def _insist(operation: Operation, new: dict[str, Any]) -> None:
    """Raises: Invalid for figures that no order could be priced by, or that change nothing."""
    if set(new) != set(FIELDS):
        raise Invalid("Name every figure, changed or not.")
    if new == figures(operation):
        raise Invalid("Nothing would change.")
    asked = copy.copy(operation)
    asked.base_price, asked.multipliers = new["base_price"], new["multipliers"]
    try:
        asked.clean_fields(exclude={field.name for field in Operation._meta.fields} - set(FIELDS))
        asked.validate_constraints()
    except ValidationError as error:
        raise Invalid(" ".join(error.messages)) from error
    if not isinstance(asked.multipliers, dict) or not all(map(_is_rule, asked.multipliers.values())):
        raise Invalid("A multiplier is one of choices, each, per, or with and its table, of factors above nothing.")


def _is_rule(rule: Any) -> bool:
    """Whether an order can be priced by it."""
    try:
        if "with" in rule:
            factors = [factor for row in rule["table"].values() for factor in row.values()]
        elif "choices" in rule:
            factors = list(rule["choices"].values())
        elif "per" in rule:
            factors = [rule["per"]]
        else:
            return bool(rule == {"each": True})
        return bool(factors) and all(Fraction(str(factor)) > 0 for factor in factors)
    except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError):
        return False


def ask(*, request_id: uuid.UUID, operation_id: uuid.UUID, new: dict[str, Any], reason: str, actor: Any) -> Approval:
    """Ask a colleague to let an operation cost something else. `new` names all that may be changed, so that what is
    approved is whole.

    Idempotent: by request_id.
    Units: credits.
    Raises: NotFound, PermissionDenied, Invalid, Conflict for the same id with other figures.
    """
    approvals.insist(actor, REPRICE)
    if known := approvals.asked_before(request_id, {"row": str(operation_id), "new": new}):
        return known
    operation = Operation.objects.filter(pk=operation_id).first()
    if operation is None:
        raise NotFound
    changes = preview(operation, new)
    with transaction.atomic():
        return approvals.request(
            CARRY_OUT,
            approval_id=request_id,
            payload={"row": str(operation_id), "old": figures(operation), "new": new},
            summary=f"{operation}: {', '.join(changes)}",
            unit=CREDIT,
            amount=0,
            customer_id=None,
            reason=reason,
            requester=actor,
        )


@audit.writes("operation")
def carry_out(approval: Approval) -> None:
    """Change what a colleague has approved, in that transaction, if it is still as both of them saw it.

    Jobs that have been ordered keep what they were told. Locks: the operation. Raises: Conflict.
    """
    old, new = approval.payload["old"], approval.payload["new"]
    operation = Operation.objects.select_for_update(no_key=True).get(pk=uuid.UUID(approval.payload["row"]))
    if figures(operation) != old:
        raise Conflict("This has changed since it was asked for; it has to be asked for anew.")
    operation.base_price, operation.multipliers = new["base_price"], new["multipliers"]
    operation.save(update_fields=[*FIELDS, "updated_at"])
    audit.record(
        "operation.repriced",
        operation,
        old=old,
        new=new,
        metadata={"reason": approval.reason, "approval": approval.pk},
        actor_id=approval.requester_id,
    )
    public.changed("operations")

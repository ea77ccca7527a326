"""Credits that staff give: alone within the day's limits, beyond them with a colleague's approval; and voiding them."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models.functions import Now

import audit
from audit import approvals
from audit.models import Approval
from billing import ledger
from billing.models import CreditLot, HouseKind, StaffGrant
from core.errors import Conflict, NotFound
from core.money import CREDIT

GIVE, GIVE_MORE, VOID = "billing.give_staffgrant", "billing.give_more_staffgrant", "billing.void_staffgrant"
CARRY_OUT = "billing.staff_grants.carry_out"
GONE = ("deleting", "deleted")


@audit.writes("credits")
def give(*, grant_id: uuid.UUID, user_id: uuid.UUID, amount: int, reason: str, actor: Any) -> StaffGrant | Approval:
    """Give a person promo credits, or ask a colleague to let it happen.

    Idempotent: by grant_id.
    Locks: the person, the day's totals, the wallet.
    Raises: PermissionDenied for whoever may not, or would give to themselves; Conflict for who is gone, and for the
        same id with other figures.
    """
    approvals.insist(actor, GIVE, customer_id=user_id)
    payload = {"user": str(user_id), "amount": amount}
    with transaction.atomic():
        _lock_person(user_id)
        done = StaffGrant.objects.filter(pk=grant_id).first()
        if done is not None:
            approvals.insist_same(payload, {"user": str(done.user_id), "amount": done.amount})
            return done
        if asked := approvals.asked_before(grant_id, payload, amount=amount):
            return asked
        own_limit = None if actor.has_perm(GIVE_MORE) else settings.SUPPORT_GRANT_LIMIT
        if approvals.takes_alone(unit=CREDIT, amount=amount, customer_id=user_id, actor=actor, own_limit=own_limit):
            return _post(grant_id, user_id=user_id, amount=amount, reason=reason, actor_id=actor.pk)
        return approvals.request(
            CARRY_OUT,
            approval_id=grant_id,
            payload=payload,
            summary=f"Give {amount} credits",
            unit=CREDIT,
            amount=amount,
            customer_id=user_id,
            reason=reason,
            requester=actor,
        )


def carry_out(approval: Approval) -> None:
    """Give what a colleague has approved, in that transaction (settings.APPROVAL_ACTS)."""
    user_id = uuid.UUID(approval.payload["user"])
    _lock_person(user_id)
    _post(
        approval.pk,
        user_id=user_id,
        amount=approval.payload["amount"],
        reason=approval.reason,
        actor_id=approval.requester_id,
        approval=approval,
    )


def _lock_person(user_id: uuid.UUID) -> None:
    people = get_user_model().objects.select_for_update(of=("self",), no_key=True)
    if people.values_list("status", flat=True).get(pk=user_id) in GONE:
        raise Conflict("This account is being deleted, or is deleted.")


def _post(
    grant_id: uuid.UUID,
    *,
    user_id: uuid.UUID,
    amount: int,
    reason: str,
    actor_id: uuid.UUID,
    approval: Approval | None = None,
) -> StaffGrant:
    grant = StaffGrant.objects.create(
        id=grant_id, user_id=user_id, amount=amount, reason=reason, actor_id=actor_id, approval=approval
    )
    ledger.grant(
        user_id=user_id,
        amount=amount,
        category=CreditLot.Category.PROMO,
        house=HouseKind.PROMO,
        key=f"staff-grant:{grant.pk}",
        subject=("staff_grant", grant.pk),
        actor_id=actor_id,
        memo="Credits from support",
    )
    audit.record(
        "staff_grant.given",
        ("staff_grant", grant.pk),
        new={"amount": amount},
        metadata={"reason": reason, "approval": approval.pk if approval else None},
        user=user_id,
        actor_id=actor_id,
    )
    return grant


@audit.writes("credits")
def void(grant_id: uuid.UUID, *, actor: Any, reason: str) -> StaffGrant:
    """End what is left of a grant: what is spent stays spent, what is held goes when it is released.

    Idempotent: by state.
    Locks: the grant, the wallet, then lots.
    Raises: NotFound; PermissionDenied for whoever may not.
    """
    approvals.insist(actor, VOID)
    with transaction.atomic():
        grant = StaffGrant.objects.select_for_update(of=("self",), no_key=True).filter(pk=grant_id).first()
        if grant is None:
            raise NotFound
        if grant.voided_at is not None:
            return grant
        ended = ledger.end_lots(user_id=grant.user_id, source=("staff_grant", grant.pk))
        StaffGrant.objects.filter(pk=grant.pk).update(voided_at=Now(), voided_by=actor, void_reason=reason, ended=ended)
        audit.record(
            "staff_grant.voided",
            ("staff_grant", grant.pk),
            new={"ended": ended},
            metadata={"reason": reason, "given": grant.amount},
            user=grant.user_id,
            actor_id=actor.pk,
        )
    grant.refresh_from_db()
    return grant

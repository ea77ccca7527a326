"""Four eyes: beyond a day's limits an act of one member of staff happens only when another one lets it.

An act is a function that touches nothing but the database, named in settings.APPROVAL_ACTS. It runs in the approver's
transaction, so it happens exactly once or not at all.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.db.models import BooleanField, ExpressionWrapper, Q
from django.db.models.functions import Now
from django.utils.module_loading import import_string

from audit import trail
from audit.models import Approval, ApprovalState
from core.errors import Conflict, NotFound, PermissionDenied

VALID_FOR = timedelta(hours=24)
UNLIMITED = 2**62


class _OverLimit(Exception):
    pass


def takes_alone(*, unit: str, amount: int, customer_id: uuid.UUID, actor: Any, own_limit: int | None = None) -> bool:
    """Count an amount that `actor` moves for a customer, if both stay within today's limits; else a colleague decides.

    `own_limit` is a lower one for this person. Call it in the transaction of the act.
    Locks: the day's totals of the customer and of the actor, until the commit.
    Units: the unit's minor unit. A unit without a limit always needs a colleague.
    """
    limit = settings.APPROVAL_LIMITS.get(unit, 0)
    try:
        with transaction.atomic():
            _count(f"customer:{customer_id}", unit, amount, limit)
            _count(f"staff:{actor.pk}", unit, amount, limit if own_limit is None else min(limit, own_limit))
    except _OverLimit:
        return False
    return True


def _count(scope: str, unit: str, amount: int, limit: int) -> None:
    if amount > limit:
        raise _OverLimit
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO audit_daytotal AS total (day, scope, unit, amount)"
            " VALUES ((now() AT TIME ZONE 'UTC')::date, %s, %s, %s)"
            " ON CONFLICT (day, scope, unit) DO UPDATE SET amount = total.amount + excluded.amount"
            " WHERE total.amount + excluded.amount <= %s",
            [scope, unit, amount, limit],
        )
        if cursor.rowcount != 1:
            raise _OverLimit


def insist(actor: Any, permission: str, *, customer_id: uuid.UUID | None = None) -> None:
    """Who acts alone or asks has to be allowed to, and gains nothing by it. Raises: PermissionDenied."""
    if not actor.is_active or not actor.has_perm(permission):
        raise PermissionDenied
    if actor.pk == customer_id:
        raise PermissionDenied("Nobody does this for themselves.")


def insist_same(sent: Any, before: Any) -> None:
    """What is sent again under an id has to be what was sent before. Raises: Conflict."""
    if sent != before:
        raise Conflict("This was sent before with other figures; open the form anew.")


def asked_before(approval_id: uuid.UUID, payload: dict[str, Any], *, amount: int | None = None) -> Approval | None:
    """What was asked for under this id, if anything was; `payload` is as much of it as the asker chose.

    Raises: Conflict when that was something else.
    """
    known = Approval.objects.filter(pk=approval_id).first()
    if known is not None:
        insist_same(payload, {name: known.payload.get(name) for name in payload})
        insist_same(known.amount if amount is None else amount, known.amount)
    return known


@trail.writes("approval")
def request(
    act: str,
    *,
    approval_id: uuid.UUID,
    payload: dict[str, Any],
    summary: str,
    unit: str,
    amount: int,
    customer_id: uuid.UUID | None,
    reason: str,
    requester: Any,
) -> Approval:
    """Ask a colleague to let an act happen, in the caller's transaction. Nothing else happens yet.

    Idempotent: by approval_id.
    Raises: PermissionDenied for whoever may not ask, or would benefit; LookupError for an act that is not registered.
    """
    _may(requester, act)
    if customer_id == requester.pk:
        raise PermissionDenied("Nobody does this for themselves.")
    known = Approval.objects.filter(pk=approval_id).first()
    if known is not None:
        return known
    approval = Approval.objects.create(
        id=approval_id,
        act=act,
        payload=payload,
        summary=summary[:200],
        unit=unit,
        amount=amount,
        customer_id=customer_id,
        requester_id=requester.pk,
        reason=reason,
        expires_at=Now() + VALID_FOR,
    )
    _record("requested", approval, requester.pk, reason=reason)
    return approval


@trail.writes("approval")
def approve(approval_id: uuid.UUID, *, approver: Any, reason: str) -> Approval:
    """Let an act happen, and do it in the same transaction: if the act refuses, nothing is decided.

    Idempotent: decided once; who comes second is told so.
    Locks: the approval, the day's totals, then what the act locks.
    Raises: NotFound, PermissionDenied, Conflict, and what the act raises.
    """
    with transaction.atomic():
        approval = _open(approval_id, approver)
        requester = get_user_model().objects.get(pk=approval.requester_id)
        if not _is_allowed(requester, settings.APPROVAL_ACTS[approval.act]):
            raise Conflict("Whoever asked for this may no longer do so.")
        _decide(approval, ApprovalState.APPROVED, approver, reason)
        if approval.customer_id:
            _count(f"customer:{approval.customer_id}", approval.unit, approval.amount, UNLIMITED)
        _count(f"staff:{approval.requester_id}", approval.unit, approval.amount, UNLIMITED)
        import_string(approval.act)(approval)
        Approval.objects.filter(pk=approval.pk).update(state=ApprovalState.EXECUTED, executed_at=Now())
        _record("executed", approval, approver.pk)
    approval.refresh_from_db()
    return approval


def rehearse(approval_id: uuid.UUID, *, approver: Any, reason: str) -> list[str]:
    """What approving it now would do to the books (settings.APPROVAL_REHEARSAL). Nothing is kept of it.

    Raises: as `approve`.
    """
    approval = Approval.objects.filter(pk=approval_id).first()
    if approval is None:
        raise NotFound
    told: list[str] = import_string(settings.APPROVAL_REHEARSAL)(
        approval, lambda: approve(approval_id, approver=approver, reason=reason)
    )
    return told


@trail.writes("approval")
def refuse(approval_id: uuid.UUID, *, approver: Any, reason: str) -> Approval:
    """Say no to what a colleague asks for.

    Idempotent: decided once; who comes second is told so.
    Locks: the approval.
    Raises: NotFound, PermissionDenied, Conflict.
    """
    with transaction.atomic():
        approval = _open(approval_id, approver)
        _decide(approval, ApprovalState.REFUSED, approver, reason)
    approval.refresh_from_db()
    return approval


def _open(approval_id: uuid.UUID, approver: Any) -> Approval:
    """The approval, locked, if this person may decide about it now."""
    over = ExpressionWrapper(Q(expires_at__lte=Now()), output_field=BooleanField())
    rows = Approval.objects.annotate(is_over=over)
    approval = rows.select_for_update(of=("self",), no_key=True).filter(pk=approval_id).first()
    if approval is None:
        raise NotFound
    _may(approver, approval.act, "audit.decide_approval")
    if approver.pk == approval.requester_id:
        raise PermissionDenied("Somebody else has to decide about what you have asked for.")
    if approver.pk == approval.customer_id:
        raise PermissionDenied("Nobody does this for themselves.")
    if approval.state != ApprovalState.PENDING:
        raise Conflict(f"This is {approval.state} already.")
    if approval.is_over:
        raise Conflict("This was not decided within a day; it has to be asked for anew.")
    return approval


def _decide(approval: Approval, state: ApprovalState, approver: Any, reason: str) -> None:
    Approval.objects.filter(pk=approval.pk).update(
        state=state, approver_id=approver.pk, decision_reason=reason, decided_at=Now()
    )
    approval.approver_id = approver.pk
    _record(state.value, approval, approver.pk, reason=reason)


def _is_allowed(person: Any, *permissions: str) -> bool:
    return bool(person.is_active and person.is_staff and person.has_perms(permissions))


def _may(person: Any, act: str, *more: str) -> None:
    if act not in settings.APPROVAL_ACTS:
        raise LookupError(f"{act} is not in APPROVAL_ACTS")
    if not _is_allowed(person, settings.APPROVAL_ACTS[act], *more):
        raise PermissionDenied


def _record(what: str, approval: Approval, actor_id: uuid.UUID | None, *, reason: str = "") -> None:
    trail.record(
        f"approval.{what}",
        approval,
        new={"summary": approval.summary, "amount": approval.amount, "unit": approval.unit},
        metadata={"act": approval.act, "payload": approval.payload} | ({"reason": reason} if reason else {}),
        user=approval.customer_id,
        actor_id=actor_id,
    )


@trail.writes("approval")
def expire_due() -> int:
    """Close what nobody has decided in time; how many is returned.

    Idempotent: by state.
    Locks: the approvals, skipping those that are being decided.
    """
    with transaction.atomic():
        due = Approval.objects.filter(state=ApprovalState.PENDING, expires_at__lte=Now()).order_by("pk")
        found = list(due.select_for_update(of=("self",), no_key=True, skip_locked=True)[:500])
        Approval.objects.filter(pk__in=[approval.pk for approval in found]).update(state=ApprovalState.EXPIRED)
        for approval in found:
            _record("expired", approval, None)
    return len(found)

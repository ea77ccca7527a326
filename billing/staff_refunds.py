"""Refunds, waivers and breaks by staff: alone within the day's limits, beyond them and by hand with a colleague."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

import audit
from audit import approvals
from audit.models import Approval, ApprovalState
from billing import captures, ledger, refunds
from billing.errors import RefundNotPossible
from billing.models import Break, BreakKind, Debt, Payment, Refund
from billing.models.payments import Fulfilment
from billing.standing import lock
from core.errors import Conflict, NotFound
from core.money import CREDIT, display

REFUND, WAIVE, RESOLVE = "billing.refund_payment", "billing.waive_debt", "billing.resolve_break"
CARRY_OUT, CARRY_OUT_WAIVER = "billing.staff_refunds.carry_out", "billing.staff_refunds.carry_out_waiver"


@audit.writes("refund")
def refund(
    *,
    request_id: uuid.UUID,
    payment_id: uuid.UUID,
    amount: int,
    reason: str,
    actor: Any,
    keeps_credits: bool = False,
    reference: str = "",
) -> Refund | Approval:
    """Refund a part or all of a payment, or ask a colleague to let it happen; what was paid back by hand, with its
    `reference`, always asks.

    Idempotent: by request_id.
    Units: the currency's minor unit.
    Locks: payment, the day's totals, refund, wallet.
    Raises: PermissionDenied, RefundNotPossible, Conflict for the same id with other figures.
    """
    done = decide(
        request_id=request_id,
        payment_id=payment_id,
        amount=amount,
        reason=reason,
        actor=actor,
        keeps_credits=keeps_credits,
        reference=reference,
    )
    if isinstance(done, Approval) or done.tries:
        return done
    refunds.send(done.pk)
    return Refund.objects.get(pk=done.pk)


def cause_of(request_id: uuid.UUID) -> str:
    """Of the refund that a request brought about."""
    return f"staff:{request_id}"


@audit.writes("refund")
def decide(
    *,
    request_id: uuid.UUID,
    payment_id: uuid.UUID,
    amount: int,
    reason: str,
    actor: Any,
    keeps_credits: bool = False,
    reference: str = "",
) -> Refund | Approval:
    """The part of `refund` that is in the database alone: the refund is written down, or asked for.

    Idempotent, Units, Locks, Raises: as `refund`.
    """
    with transaction.atomic():
        payment = _payment(payment_id, actor, REFUND)
        cause = cause_of(request_id)
        payload = {"payment": str(payment_id), "keeps_credits": keeps_credits, "reference": reference}
        done = Refund.objects.filter(cause=cause).first()
        if done is not None:
            before = (done.payment_id, done.amount, done.keeps_credits)
            approvals.insist_same((payment_id, amount, keeps_credits), before)
            return done
        if known := approvals.asked_before(request_id, payload, amount=amount):
            return known
        _check(payment, amount)
        if reference or not approvals.takes_alone(
            unit=payment.currency, amount=amount, customer_id=payment.user_id, actor=actor
        ):
            return approvals.request(
                CARRY_OUT,
                approval_id=request_id,
                payload=payload,
                summary=f"Refund {display(amount, payment.currency)}{' by hand' if reference else ''}",
                unit=payment.currency,
                amount=amount,
                customer_id=payment.user_id,
                reason=reason,
                requester=actor,
            )
        return refunds.book(
            payment_id=payment_id, amount=amount, reason=reason, actor=actor, cause=cause, keeps_credits=keeps_credits
        )


def carry_out(approval: Approval) -> None:
    """Book the refund that a colleague has approved, in that transaction; a worker sends it."""
    refunds.book(
        payment_id=uuid.UUID(approval.payload["payment"]),
        amount=approval.amount,
        reason=approval.reason,
        actor=approval.requester,
        cause=cause_of(approval.pk),
        keeps_credits=approval.payload["keeps_credits"],
        reference=approval.payload["reference"],
    )


@audit.writes("debt")
def waive(*, request_id: uuid.UUID, debt_id: uuid.UUID, reason: str, actor: Any) -> Debt | Approval:
    """Give up what remains of a debt, or ask a colleague to let it happen.

    Idempotent: by state and by request_id. Locks: the day's totals, the debt.
    Raises: NotFound, PermissionDenied, Conflict for the same id with another debt.
    """
    with transaction.atomic():
        debt = Debt.objects.filter(pk=debt_id).first()
        if debt is None:
            raise NotFound
        approvals.insist(actor, WAIVE, customer_id=debt.user_id)
        asked = approvals.asked_before(request_id, {"debt": str(debt.pk)})
        if asked is not None or not debt.remaining:
            return asked or debt
        if approvals.takes_alone(unit=debt.unit, amount=debt.remaining, customer_id=debt.user_id, actor=actor):
            return ledger.waive(debt_id=debt.pk, reason=reason, actor_id=actor.pk)
        return approvals.request(
            CARRY_OUT_WAIVER,
            approval_id=request_id,
            payload={"debt": str(debt.pk)},
            summary=f"Waive a debt of {display(debt.remaining, debt.unit)}",
            unit=debt.unit,
            amount=debt.remaining,
            customer_id=debt.user_id,
            reason=reason,
            requester=actor,
        )


def carry_out_waiver(approval: Approval) -> None:
    """Waive what a colleague has approved, in that transaction; a debt that has grown since stays."""
    debt = Debt.objects.get(pk=uuid.UUID(approval.payload["debt"]))
    if debt.remaining > approval.amount:
        raise Conflict("The debt is larger than what was asked for.")
    ledger.waive(debt_id=debt.pk, reason=approval.reason, actor_id=approval.requester_id)


# --- Breaks -----------------------------------------------------------------------------------------------------------


def decide_break(*, break_id: uuid.UUID, reason: str, actor: Any) -> Refund | Approval:
    """As `decide`, of the money that a break is about."""
    return decide(**_refund_of(_break(break_id, actor)), reason=reason, actor=actor)


@audit.writes("break")
def refund_break(*, break_id: uuid.UUID, reason: str, actor: Any) -> Refund | Approval:
    """Refund the money that a break is about. It stays open while a colleague decides; asking again then resolves it,
    or asks anew if the colleague refused or did not decide in time.

    Idempotent: by break.
    Raises: NotFound, PermissionDenied, RefundNotPossible, Conflict.
    """
    row = _break(break_id, actor)
    done = refund(**_refund_of(row), reason=reason, actor=actor)
    if isinstance(done, Refund):
        _resolve(row, actor, f"refund {done.pk}: {reason}")
    return done


def _refund_of(row: Break) -> dict[str, Any]:
    if row.payment_id is None or not row.amount or row.kind not in OF_A_PAYMENT:
        raise RefundNotPossible("There is no payment of ours here whose money could go back.")
    return {"request_id": _request_of(row), "payment_id": row.payment_id, "amount": row.amount}


def _request_of(row: Break) -> uuid.UUID:
    """The id of what a break asks for: the break's own, and another one after each request that came to nothing."""
    request_id, fruitless = row.pk, 0
    over = Q(state__in=(ApprovalState.REFUSED, ApprovalState.EXPIRED))
    over |= Q(state=ApprovalState.PENDING, expires_at__lte=Now())
    while Approval.objects.filter(over, pk=request_id).exists():
        fruitless += 1
        request_id = uuid.uuid5(row.pk, str(fruitless))
    return request_id


OF_A_PAYMENT = (BreakKind.OVERPAID, BreakKind.UNDERPAID, BreakKind.PAID_TWICE)


@audit.writes("break")
def credit_in_part(*, break_id: uuid.UUID, reason: str, actor: Any) -> Payment:
    """Settle an underpaid payment for what has come: that much becomes its price, and that part of the goods is given.

    Idempotent: by state. Locks: payment → wallet.
    Raises: NotFound, PermissionDenied, Conflict for what cannot be given in part.
    """
    row = _break(break_id, actor)
    with transaction.atomic():
        if row.kind != BreakKind.UNDERPAID or row.payment_id is None:
            raise Conflict("Only an underpaid payment can be credited in part.")
        payment = lock(row.payment_id)
        if payment.fulfilment != Fulfilment.NONE or not 0 < payment.received < payment.amount:
            raise Conflict("This payment is not underpaid any more.")
        if payment.refunded or payment.refunding or payment.lost:
            raise Conflict("A part of it has gone back or is on its way; refund the rest.")
        credits = payment.credits * payment.received // payment.amount
        if not payment.wallet_kind or (payment.unit == CREDIT and not credits):
            raise Conflict("This cannot be given in part; refund it.")
        old = {"amount": payment.amount, "credits": payment.credits}
        payment.amount, payment.credits = payment.received, credits
        payment.title = f"{payment.title} (in part)"[:120]
        payment.save(update_fields=["amount", "credits", "title", "updated_at"])
        audit.record(
            "payment.repriced",
            payment,
            old=old,
            new={"amount": payment.amount, "credits": credits},
            metadata={"break": row.pk, "reason": reason},
            user=payment.user_id,
            actor_id=actor.pk,
        )
        _resolve(row, actor, f"credited in part: {reason}")
        captures.tell(payment, is_fresh=captures.deliver_if_paid(payment), failed=())
    return payment


@audit.writes("break")
def dismiss(*, break_id: uuid.UUID, reason: str, actor: Any) -> Break:
    """Close a break without an act: it has been dealt with elsewhere, or means nothing.

    Idempotent: by state; who comes second is told so. Raises: NotFound, PermissionDenied, Conflict.
    """
    return _resolve(_break(break_id, actor), actor, f"dismissed: {reason}")


def _break(break_id: uuid.UUID, actor: Any) -> Break:
    row: Break | None = Break.objects.select_related("payment").filter(pk=break_id).first()
    if row is None:
        raise NotFound
    approvals.insist(actor, RESOLVE, customer_id=row.payment.user_id if row.payment else None)
    if row.resolved_at is not None:
        raise Conflict(f"This is resolved already: {row.resolution}")
    return row


def _resolve(row: Break, actor: Any, resolution: str) -> Break:
    with transaction.atomic():
        done = Break.objects.filter(pk=row.pk, resolved_at=None).update(
            resolved_at=Now(), resolved_by=actor, resolution=resolution[:500]
        )
        if not done:
            raise Conflict("Somebody else has just resolved this.")
        audit.record("break.resolved", ("break", row.pk), new={"resolution": resolution[:500]}, actor_id=actor.pk)
    row.refresh_from_db()
    return row


def _payment(payment_id: uuid.UUID, actor: Any, permission: str) -> Payment:
    if not Payment.objects.filter(pk=payment_id).exists():
        raise NotFound
    payment = lock(payment_id)
    approvals.insist(actor, permission, customer_id=payment.user_id)
    return payment


def _check(payment: Payment, amount: int) -> None:
    """Refuse now what a colleague would only find out later."""
    if not 0 < amount <= payment.room:
        raise RefundNotPossible("That is more than what came in on this payment and is not yet on its way back.")

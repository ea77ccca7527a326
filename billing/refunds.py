"""Money back to the customer: our own refunds (row → gateway → books) and those born in the gateway's dashboard."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import structlog
from django.db import transaction
from django.db.models import F, Q, QuerySet, Sum
from django.db.models.functions import Now

import audit
from billing import breaks, gateways, ledger, money, telling
from billing.errors import GatewayUnavailable, RefundNotPossible
from billing.gateways.base import Gateway, GatewayError, RefundFact, RefundStatus, Rejected
from billing.models import (
    BreakKind,
    Payment,
    PaymentAttempt,
    Refund,
    RefundMethod,
    RefundOrigin,
    RefundState,
)
from billing.models.payments import Counts
from billing.models.refunds import REFUND_TRANSITIONS, RETURNED
from billing.standing import collect, give_back, lock, purse, restand
from core import jobs
from core.ids import new_id
from core.killpoints import reach

log = structlog.get_logger("refunds")

LEASE = timedelta(seconds=60)
BATCH = 20
LONGEST_WAIT_S = 3600
ASK_AGAIN = timedelta(hours=6)  # a bank takes 5 to 7 working days


@audit.writes("refund")
def request(*, payment_id: uuid.UUID, amount: int, reason: str, actor: Any, keeps_credits: bool = False) -> Refund:
    """Refund a part or all of a payment, by staff. The row and its room first, then the gateway, then the books.

    `keeps_credits` is goodwill: the customer keeps what was bought.
    Units: the currency's minor unit.
    Locks: payment → refund → wallet.
    Raises: RefundNotPossible. A gateway that fails now is asked again by the worker; the row says so.
    """
    with transaction.atomic():
        refund = book(
            payment_id=payment_id,
            amount=amount,
            reason=reason,
            actor=actor,
            cause=f"staff:{new_id()}",
            keeps_credits=keeps_credits,
        )
    reach("refunds.requested")
    send(refund.pk)
    return Refund.objects.get(pk=refund.pk)


@audit.writes("refund")
def book(
    *,
    payment_id: uuid.UUID,
    amount: int,
    reason: str,
    actor: Any,
    cause: str,
    keeps_credits: bool = False,
    reference: str = "",
) -> Refund:
    """Write a refund of staff down; the worker sends it. With a `reference` staff has paid it back by other means, and
    it is recorded at once.

    Locks: payment → refund → wallet. Raises: RefundNotPossible.
    """
    with transaction.atomic():
        payment = lock(payment_id)
        if not reference and not gateways.GATEWAYS[payment.gateway].refunds():
            raise RefundNotPossible(f"Refunds are not switched on at {payment.gateway}: pay it back by hand.")
        if reference and not gateways.GATEWAYS[payment.gateway].is_remote:
            raise RefundNotPossible("What was paid from a wallet goes back to that wallet.")
        ref = f"manual:{reference}" if reference else ""
        if ref and Refund.objects.filter(gateway=payment.gateway, ref=ref).exists():
            raise RefundNotPossible("A refund with this reference has been recorded already.")
        if payment.disputes.filter(state="open").exists():
            raise RefundNotPossible("A dispute is open on this payment; the bank decides about the money first.")
        captured = payment.attempts.filter(counts=Counts.PRICE).order_by("-amount", "pk")
        attempt = next((row for row in captured if amount <= left_on(row)), None)
        if not 0 < amount <= payment.room or attempt is None:
            raise RefundNotPossible("That is more than what came in on this payment and is not yet on its way back.")
        refund = reserve(
            payment,
            attempt,
            amount=amount,
            origin=RefundOrigin.STAFF,
            cause=cause,
            reason=reason,
            actor=actor,
            keeps_credits=keeps_credits,
        )
        if reference:
            refund.method, refund.ref = RefundMethod.MANUAL, ref
            _move(payment, refund, RefundState.PROCESSED)
    return refund


@audit.writes("refund")
def reserve(
    payment: Payment,
    attempt: PaymentAttempt,
    *,
    amount: int,
    origin: RefundOrigin,
    cause: str,
    reason: str,
    actor: Any = None,
    keeps_credits: bool = False,
) -> Refund:
    """Write a refund down, keep its room on the payment and freeze what it will take back.

    Locks: the caller holds the payment. Raises: RefundNotPossible without room.
    Enqueues: billing.send_refunds
    """
    refund = Refund(
        payment=payment,
        attempt=attempt,
        gateway=payment.gateway,
        cause=cause,
        amount=amount,
        currency=attempt.currency,
        origin=origin,
        reason=reason[:500],
        actor=actor,
        keeps_credits=keeps_credits,
        next_at=Now(),
    )
    if not refund.is_surplus:
        _keep_room(payment, amount)
        wanted = 0 if keeps_credits else payment.due(also_gone=payment.refunding) - payment.taken
        refund.frozen = max(0, wanted - _frozen_for_others(payment))
    refund.save(force_insert=True)
    if refund.frozen:
        ledger.freeze(
            user_id=payment.user_id,
            amount=refund.frozen,
            key=_freeze_key(refund),
            subject=("refund", refund.pk),
            **purse(payment),
        )
    audit.record(
        "refund.requested",
        refund,
        new={"amount": amount, "currency": refund.currency, "origin": origin.value, "keeps_credits": keeps_credits},
        metadata={"payment": payment.pk, "reason": refund.reason, "attempt": attempt.ref},
        user=payment.user_id,
    )
    jobs.wake("billing.send_refunds")
    return refund


def _keep_room(payment: Payment, amount: int) -> None:
    """The conditional step that authorises a refund; two at once cannot both take the last of it."""
    kept = Payment.objects.filter(
        pk=payment.pk, received__gte=F("refunded") + F("refunding") + F("lost") + amount
    ).update(refunding=F("refunding") + amount, updated_at=Now())
    if not kept:
        raise RefundNotPossible("That is more than what came in on this payment and is not yet on its way back.")
    payment.refunding += amount


def _frozen_for_others(payment: Payment) -> int:
    waiting = payment.refunds.filter(state=RefundState.REQUESTED, frozen__gt=0)
    return int(waiting.aggregate(total=Sum("frozen"))["total"] or 0)


def _freeze_key(refund: Refund) -> str:
    return f"refund:{refund.pk}:freeze"


def left_on(attempt: PaymentAttempt) -> int:
    """What of a capture has not gone back and is not on its way. Units: minor."""
    gone = attempt.refunds.exclude(state=RefundState.FAILED).aggregate(total=Sum("amount"))["total"] or 0
    return attempt.amount - int(gone)


# --- Sending ----------------------------------------------------------------------------------------------------------


def send_due() -> int:
    """Send what waits to be sent and ask about what is on its way. Returns how many were tried."""
    due = Refund.objects.filter(next_at__lte=Now()).filter(Q(lease_until=None) | Q(lease_until__lt=Now()))
    tried = 0
    for refund_id, state in list(due.order_by("next_at").values_list("pk", "state")[:BATCH]):
        try:
            with audit.continuing(("refund", refund_id)):
                send(refund_id) if state == RefundState.REQUESTED else ask(refund_id)
        except Exception:
            # One refund that cannot be worked on must not keep the others waiting; it stays due.
            log.exception("refund_failed", refund=str(refund_id))
        tried += 1
    return tried


def send(refund_id: uuid.UUID) -> None:
    """Ask the gateway for a refund that waits. Before a second try its list is searched for ours.

    Idempotent: by state and lease, and at the gateway by our id.
    """
    refund = _claim(refund_id, RefundState.REQUESTED)
    if refund is None:
        return
    try:
        gateway = gateways.get(refund.gateway)
        fact = gateway.find_refund(refund.attempt.ref, refund.pk) if refund.tries > 1 else None
        if fact is None:
            fact = _ask_for(gateway, refund)
    except Rejected as error:
        record(refund, None, error=error)
        return
    except (GatewayError, GatewayUnavailable) as error:
        _wait(refund, error)
        return
    reach("refunds.answered")
    record(refund, fact)


def _ask_for(gateway: Gateway, refund: Refund) -> RefundFact:
    try:
        return gateway.refund(
            refund.attempt.ref,
            amount=refund.amount,
            currency=refund.currency,
            refund_id=refund.pk,
            reason=refund.reason,
        )
    except Rejected:
        # "Fully refunded already" may be our own first try, whose answer was lost.
        found = gateway.find_refund(refund.attempt.ref, refund.pk)
        if found is None:
            raise
        return found


def ask(refund_id: uuid.UUID) -> None:
    """Ask what became of a refund that the gateway has taken.

    Idempotent: by state.
    """
    refund = _claim(refund_id, RefundState.SENT)
    if refund is None or refund.ref is None:
        return
    try:
        fact = gateways.get(refund.gateway).fetch_refund(refund.ref)
    except (GatewayError, GatewayUnavailable) as error:
        _wait(refund, error)
        return
    if fact.status is RefundStatus.SENT:
        _put_back(refund, ASK_AGAIN)
        return
    record(refund, fact)


def _claim(refund_id: uuid.UUID, state: RefundState) -> Refund | None:
    token = new_id()
    free: QuerySet[Refund] = Refund.objects.filter(pk=refund_id, state=state).filter(
        Q(lease_until=None) | Q(lease_until__lt=Now())
    )
    if not free.update(lease_token=token, lease_until=Now() + LEASE, tries=F("tries") + 1):
        return None
    return Refund.objects.select_related("attempt").get(pk=refund_id)


def _wait(refund: Refund, error: Exception) -> None:
    log.warning("refund_waits", refund=str(refund.pk), error=str(error), tries=refund.tries)
    wait_s = min(30 * 2 ** min(refund.tries, 10), LONGEST_WAIT_S)
    _put_back(refund, timedelta(seconds=wait_s), error_message=str(error)[:500])


def _put_back(refund: Refund, wait: timedelta, **noted: str) -> None:
    Refund.objects.filter(pk=refund.pk, lease_token=refund.lease_token).update(
        next_at=Now() + wait, lease_token=None, lease_until=None, **noted
    )


# --- Recording --------------------------------------------------------------------------------------------------------


@audit.writes("refund")
def record(refund: Refund, fact: RefundFact | None, *, error: Rejected | None = None) -> None:
    """Write down what the gateway answered about a refund of ours; without a fact it has refused.

    Idempotent: by state. Locks: payment → refund → wallet.
    """
    with transaction.atomic():
        payment = lock(refund.payment_id)
        row = _lock(refund.pk)
        if fact is not None and (fact.amount, fact.currency) != (row.amount, row.currency):
            breaks.file(
                BreakKind.MISMATCH,
                cause=f"mismatch:refund:{row.pk}",
                gateway=row.gateway,
                payment=payment,
                amount=fact.amount,
                currency=fact.currency,
                details={"ours": row.amount, "ref": fact.ref},
            )
        if fact is not None:
            row.ref = fact.ref
        if error is not None:
            row.error_code, row.error_message = error.code, str(error)[:500]
        _move(payment, row, RefundState(fact.status.value) if fact else RefundState.FAILED)


@audit.writes("refund")
def observe(payment: Payment, facts: Sequence[RefundFact]) -> None:
    """Apply the gateway's refunds of a payment: ours move on, those born in its dashboard come in.

    Idempotent: by the gateway's id. Locks: the caller holds the payment.
    """
    attempts = {row.ref: row for row in payment.attempts.all()} if facts else {}
    for fact in {fact.ref: fact for fact in facts}.values():
        attempt = attempts.get(fact.attempt_ref)
        if attempt is None or fact.currency != attempt.currency:
            continue
        row = _row_of(payment, attempt, fact)
        if row is not None and row.state != fact.status.value:
            row.ref = fact.ref
            _move(payment, row, RefundState(fact.status.value))


def _row_of(payment: Payment, attempt: PaymentAttempt, fact: RefundFact) -> Refund | None:
    rows: QuerySet[Refund] = Refund.objects.filter(payment=payment)
    found = rows.filter(ref=fact.ref).first()
    if found is None and fact.refund_id is not None:
        found = rows.filter(pk=fact.refund_id, ref=None, state=RefundState.REQUESTED).first()
    if found is not None:
        return _lock(found.pk)
    if fact.status is RefundStatus.FAILED or not attempt.counts:
        return None
    row = Refund(
        payment=payment,
        attempt=attempt,
        gateway=payment.gateway,
        ref=fact.ref,
        cause=f"gateway:{payment.gateway}:{fact.ref}",
        amount=fact.amount,
        currency=fact.currency,
        origin=RefundOrigin.GATEWAY,
        reason="refunded in the gateway's dashboard",
    )
    row.save(force_insert=True)
    audit.record(
        "refund.found",
        row,
        new={"amount": row.amount, "currency": row.currency, "ref": row.ref},
        metadata={"payment": payment.pk},
        user=payment.user_id,
    )
    return row


def _lock(refund_id: uuid.UUID) -> Refund:
    rows: QuerySet[Refund] = Refund.objects.select_for_update(of=("self",), no_key=True)
    return rows.select_related("attempt").get(pk=refund_id)


def _move(payment: Payment, row: Refund, state: RefundState) -> None:
    """Move a locked refund of a locked payment on, with its money and credits."""
    old = row.state
    if state == old or state not in REFUND_TRANSITIONS[old]:
        return
    row.state = state
    row.next_at = Now() + ASK_AGAIN if state == RefundState.SENT else None
    row.lease_token = row.lease_until = None
    if state == RefundState.FAILED:
        _undo(payment, row, was_returned=old in RETURNED)
    elif old == RefundState.REQUESTED:
        before = payment.taken
        _give(payment, row)
        telling.refunded(payment, row, taken=payment.taken - before)
    row.save()
    audit.record(
        f"refund.{state.value}",
        row,
        old={"state": old},
        new={"state": state.value, "ref": row.ref, "error": row.error_message},
        metadata={"payment": payment.pk, "amount": row.amount, "currency": row.currency},
        user=payment.user_id,
    )


def _is_part_of_price(row: Refund) -> bool:
    """Whether the payment's figures and credits follow it; a capture that came besides the price only leaves again."""
    return row.attempt.counts == Counts.PRICE


def _give(payment: Payment, row: Refund) -> None:
    """The gateway has taken it: the money leaves our books, and the credits it stands for are taken back."""
    money.pay_out(payment, row)
    reach("refunds.posted")
    if not _is_part_of_price(row):
        return
    if row.origin != RefundOrigin.GATEWAY:
        payment.refunding -= row.amount
    row.applied = min(row.amount, payment.received - payment.refunded - payment.lost)
    payment.refunded += row.applied
    if row.keeps_credits:
        payment.forgiven += row.applied
    restand(payment, "forgiven")
    if row.applied < row.amount:
        breaks.file(
            BreakKind.REFUND_EXCESS,
            cause=f"refund_excess:{row.pk}",
            gateway=row.gateway,
            payment=payment,
            amount=row.amount - row.applied,
            currency=row.currency,
            details={"refund": str(row.pk), "ref": row.ref},
        )
    collect(
        payment,
        key=f"refund:{row.pk}:clawback",
        subject=("refund", row.pk),
        freeze_key=_freeze_key(row) if row.frozen else "",
    )


def _undo(payment: Payment, row: Refund, *, was_returned: bool) -> None:
    """It failed: room, money and credits are as before. A person must see that the customer did not get the money."""
    breaks.file(
        BreakKind.REFUND_FAILED,
        cause=f"refund_failed:{row.pk}",
        gateway=row.gateway,
        payment=payment,
        amount=row.amount,
        currency=row.currency,
        details={"refund": str(row.pk), "origin": row.origin, "error": row.error_message},
    )
    if was_returned:
        ledger.record_money(
            gateway=row.gateway,
            amount=row.amount,
            currency=row.currency,
            key=f"refund:{row.pk}:reverse",
            subject=("refund", row.pk),
            memo="the refund failed",
        )
    if not _is_part_of_price(row):
        return
    if was_returned:
        payment.refunded -= row.applied
        payment.forgiven -= row.applied if row.keeps_credits else 0
        row.applied = 0
        restand(payment, "forgiven")
        row.returned += give_back(
            payment,
            key=f"refund:{row.pk}:reverse:credits",
            subject=("refund", row.pk),
            reason="the refund failed",
        )
        return
    payment.refunding -= row.amount
    restand(payment)
    if row.frozen:
        ledger.thaw(key=_freeze_key(row))

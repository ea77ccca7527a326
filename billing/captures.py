"""What the gateway tells of a payment's attempts, applied inside the settling transaction: money first, then goods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime

from django.db.models.functions import Now
from django.utils import timezone

import audit
from accounts.models import UserStatus
from billing import breaks, fulfilment, money, refunds
from billing.fulfilment import Refused
from billing.gateways.base import AttemptFact, AttemptStatus, Snapshot, StartFact
from billing.models import (
    BreakKind,
    Payment,
    PaymentAttempt,
    PaymentStart,
    PaymentState,
    RefundOrigin,
    UserWalletKind,
)
from billing.models.payments import PAID, AttemptState, Counts, Fulfilment
from billing.standing import restand
from core.killpoints import reach
from core.money import display
from notifications import outbox

# News only moves an attempt forward, in whatever order it arrives; a failed one may still be authorised and captured.
_RANK = {state: rank for rank, state in enumerate(AttemptState.values)}

# What tells of its payment in a mail of its own.
CONFIRMED_ELSEWHERE = ("subscription", "order")


def agrees(begun: PaymentStart, fact: StartFact) -> bool:
    """Whether what the gateway has on record is what we asked for: id, reference, amount, currency."""
    wanted = (begun.reference, begun.amount, begun.currency, begun.ref or fact.ref)
    return wanted == (fact.reference, fact.amount, fact.currency, fact.ref)


def file_mismatch(payment: Payment, begun: PaymentStart, fact: StartFact | AttemptFact) -> None:
    """File that the gateway's record is not ours; nothing of it is applied."""
    breaks.file(
        BreakKind.MISMATCH,
        cause=f"mismatch:{begun.reference}:{fact.ref}",
        gateway=payment.gateway,
        payment=payment,
        amount=fact.amount,
        currency=fact.currency,
        details={"told": asdict(fact), "ours": {"amount": begun.amount, "currency": begun.currency, "ref": begun.ref}},
    )


def is_covered_elsewhere(payment: Payment) -> bool:
    """Whether authorised money need not be taken: the price is paid, or the payment that replaced this one is."""
    fresh = Payment.objects.select_related("superseded_by").get(pk=payment.pk)
    replaced_by = fresh.superseded_by
    return fresh.is_paid or (replaced_by is not None and replaced_by.is_paid)


@audit.writes("payment")
def note(payment: Payment, begun: PaymentStart, seen: Snapshot) -> list[PaymentAttempt]:
    """Note every attempt and post the money of new captures. Returns the attempts that have newly failed.

    The first captures count towards the price until it is covered; whole captures after that are money too much.
    Idempotent: by the gateway's id of the attempt. Locks: the caller holds the payment.
    """
    if not agrees(begun, seen.start):
        file_mismatch(payment, begun, seen.start)
        return []
    known = {row.ref: row for row in PaymentAttempt.objects.filter(payment=payment, start=begun)}
    failed = []
    # Oldest first; the gateway lists the newest first and tells times in whole seconds.
    for told in sorted(reversed(seen.attempts), key=lambda fact: fact.at):
        fact = _on_top(told, known)
        if fact.start_ref != begun.ref or fact.currency != begun.currency:
            file_mismatch(payment, begun, fact)
            continue
        row = known.get(fact.ref) or PaymentAttempt(
            payment=payment, start=begun, gateway=payment.gateway, ref=fact.ref, state=AttemptState.CREATED
        )
        was = row.state
        if not _advance(row, fact, is_new=fact.ref not in known):
            continue
        audit.record(
            "payment.attempted",
            payment,
            old={"state": was} if fact.ref in known else None,
            new={"state": row.state, "ref": row.ref, "amount": row.amount, "error": row.error_code},
            user=payment.user_id,
        )
        if row.state == AttemptState.CAPTURED and was != AttemptState.CAPTURED:
            _count(payment, row)
        elif row.state == AttemptState.FAILED and was != AttemptState.FAILED:
            failed.append(row)
    return failed


def _on_top(fact: AttemptFact, known: Mapping[str, PaymentAttempt]) -> AttemptFact:
    """What a gateway tells of a capture that has grown (a second transfer to the same account) is a capture of its own:
    `<ref>+<what had come before>`, of the difference."""
    family = [row for ref, row in known.items() if ref == fact.ref or ref.startswith(f"{fact.ref}+")]
    before = sum(row.amount for row in family if row.counts)
    if fact.status is not AttemptStatus.CAPTURED or not before or fact.amount <= before:
        return fact
    return replace(fact, ref=f"{fact.ref}+{before}", amount=fact.amount - before, refunded=0)


def _advance(row: PaymentAttempt, fact: AttemptFact, *, is_new: bool) -> bool:
    """Carry the news over to the row. Returns whether anything is new."""
    if _RANK[fact.status.value] < _RANK[row.state]:
        return False
    news = {
        "state": fact.status.value,
        "refunded": fact.refunded,
        "method": fact.method,
        "error_code": fact.error_code,
        "error_message": fact.error_message,
    }
    if not is_new and all(getattr(row, name) == value for name, value in news.items()):
        return False
    for name, value in news.items():
        setattr(row, name, value)
    if row.counts == Counts.UNDECIDED:
        row.amount, row.currency = fact.amount, fact.currency
    row.tried_at = datetime.fromtimestamp(fact.at, UTC) if fact.at else None
    row.save()
    return True


def _count(payment: Payment, row: PaymentAttempt) -> None:
    """Post a capture's money and say what it is to the payment."""
    if not row.amount:
        return
    kept = payment.received - payment.refunded - payment.lost
    is_surplus = payment.fulfilment != Fulfilment.NONE or kept >= payment.amount
    row.counts = Counts.SURPLUS if is_surplus else Counts.PRICE
    row.save(update_fields=["counts", "updated_at"])
    money.take_in(payment, row)
    reach("payments.settle.recorded")
    if is_surplus:
        _send_back(payment, row, RefundOrigin.SURPLUS, "this order had been paid already")
        return
    payment.received += row.amount
    payment.save(update_fields=["received", "updated_at"])


def _send_back(payment: Payment, row: PaymentAttempt, origin: RefundOrigin, reason: str) -> None:
    """Return a capture, less what the gateway's dashboard has returned before we saw it."""
    if row.amount > row.refunded:
        refunds.reserve(
            payment,
            row,
            amount=row.amount - row.refunded,
            origin=origin,
            cause=f"{origin.value}:{row.pk}",
            reason=reason,
        )


@audit.writes("payment")
def deliver_if_paid(payment: Payment) -> bool:
    """Hand over the goods once the price is covered; file what came above it or stays below. Returns whether it was
    now that they were handed over or refused.

    Idempotent: by `fulfilment`. Locks: the caller holds the payment.
    """
    kept = payment.received - payment.refunded - payment.lost
    if payment.fulfilment != Fulfilment.NONE or not kept:
        return False
    underpaid = f"underpaid:{payment.pk}"
    if kept < payment.amount:
        breaks.file(
            BreakKind.UNDERPAID,
            cause=underpaid,
            gateway=payment.gateway,
            payment=payment,
            amount=kept,
            currency=payment.currency,
            details={"price": payment.amount},
        )
        return False
    breaks.settle_itself(underpaid, "the rest has come")
    old = payment.state
    outcome = fulfilment.deliver(payment)
    payment.next_at = None
    if isinstance(outcome, Refused):
        payment.fulfilment = Fulfilment.REFUSED
        payment.failure_code, payment.failure_message = "not_delivered", outcome.reason
    else:
        payment.fulfilment, payment.granted = Fulfilment.FULFILLED, outcome.granted
    reach("payments.settle.granted")
    restand(payment, "fulfilment", "granted", "failure_code", "failure_message", "next_at")
    Payment.objects.filter(pk=payment.pk).update(settled_at=Now())
    audit.record(
        "payment.succeeded",
        payment,
        old={"state": old},
        new={"state": payment.state, "received": payment.received, "granted": payment.granted},
        metadata={"fulfilment": payment.fulfilment},
        user=payment.user_id,
    )
    if payment.excess:
        breaks.file(
            BreakKind.OVERPAID,
            cause=f"overpaid:{payment.pk}",
            gateway=payment.gateway,
            payment=payment,
            amount=payment.excess,
            currency=payment.currency,
            details={"price": payment.amount, "received": payment.received},
        )
    if not isinstance(outcome, Refused):
        _file_if_paid_twice(payment)
    else:
        for row in payment.attempts.filter(counts=Counts.PRICE).order_by("pk"):
            _send_back(payment, row, RefundOrigin.REFUSED, outcome.reason)
    return True


def _file_if_paid_twice(payment: Payment) -> None:
    """Both a payment and the one that replaced it were paid: both are settled, a person decides."""
    delivered = payment.supersedes.filter(state__in=PAID, fulfilment=Fulfilment.FULFILLED)
    pairs = [(other, payment) for other in delivered]
    replaced_by = payment.superseded_by
    if replaced_by is not None and replaced_by.fulfilment == Fulfilment.FULFILLED:
        pairs.append((payment, replaced_by))
    for older, newer in pairs:
        breaks.file(
            BreakKind.PAID_TWICE,
            cause=f"paid_twice:{older.pk}",
            gateway=older.gateway,
            payment=older,
            amount=older.amount,
            currency=older.currency,
            details={"with": str(newer.pk), "item": payment.item},
        )


def tell(payment: Payment, *, is_fresh: bool, failed: Sequence[PaymentAttempt]) -> None:
    """Write to the customer: one mail for the outcome of the payment, one for each attempt that failed before it.

    Idempotent: by payment and by attempt.
    Enqueues: payment-confirmation, payment-failed
    """
    if payment.user.status == UserStatus.DELETED:
        return
    if is_fresh and payment.fulfilment == Fulfilment.REFUSED:
        reason = f"What you ordered could not be delivered: {payment.failure_message}. Your money goes back in full."
        _tell_failed(payment, f"payment:{payment.pk}:refused", payment.received, reason)
    elif is_fresh and payment.state != PaymentState.REFUNDED and payment.fulfils not in CONFIRMED_ELSEWHERE:
        _confirm(payment)
    for row in failed:
        if not payment.is_paid:
            _tell_failed(
                payment,
                f"attempt:{row.pk}:failed",
                row.amount,
                row.error_message or "The bank did not accept it.",
            )


def _confirm(payment: Payment) -> None:
    outbox.enqueue(
        "payment-confirmation",
        user=payment.user,
        cause=f"payment:{payment.pk}:confirmation",
        context={
            "payment_id": str(payment.pk),
            "amount": display(payment.received, payment.currency),
            "goods": _goods(payment),
            "currency": payment.currency,
            "date": timezone.now().date().isoformat(),
        },
    )


def _goods(payment: Payment) -> str:
    if payment.wallet_kind not in ("", UserWalletKind.CREDITS):
        return f"{display(payment.granted, payment.unit)} on your {payment.wallet_kind} wallet"
    return payment.title


def _tell_failed(payment: Payment, cause: str, amount: int, reason: str) -> None:
    outbox.enqueue(
        "payment-failed",
        user=payment.user,
        cause=cause,
        context={
            "payment_id": str(payment.pk),
            "amount": display(amount, payment.currency),
            "reason": reason,
        },
    )

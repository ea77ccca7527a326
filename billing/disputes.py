"""A bank's claim on a payment: opened freezes its credits, won thaws them, lost takes them like a refund."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q

import audit
from accounts.models import UserStatus
from billing import breaks, ledger
from billing.gateways.base import DisputeFact, DisputeStatus
from billing.models import BreakKind, CreditLot, Dispute, DisputeState, Freeze, Payment, PaymentAttempt
from billing.models.payments import Counts
from billing.models.refunds import DISPUTE_TRANSITIONS
from billing.standing import collect, give_back, lock, purse, restand
from core.killpoints import reach
from core.money import CREDIT, display
from notifications import outbox

BATCH = 100


@audit.writes("dispute")
def observe(payment: Payment, facts: Sequence[DisputeFact], *, look: int) -> None:
    """Apply what the gateway said of the disputes over a payment's captures, in the look of that number.

    Idempotent: by the gateway's id and the state; a look begun before the one that moved a dispute moves it no more.
    Locks: the caller holds the payment.
    """
    attempts = {row.ref: row for row in payment.attempts.all()} if facts else {}
    for fact in {fact.ref: fact for fact in facts}.values():
        attempt = attempts.get(fact.attempt_ref)
        if attempt is None or not attempt.counts or fact.currency != attempt.currency:
            continue
        row = _row_of(payment, attempt, fact, look)
        if look < row.look_applied:
            continue
        row.look_applied = look
        _follow(row, fact)
        if row.state != fact.status.value:
            _move(payment, row, fact)


def _row_of(payment: Payment, attempt: PaymentAttempt, fact: DisputeFact, look: int) -> Dispute:
    found = (
        Dispute.objects.select_for_update(of=("self",), no_key=True)
        .select_related("attempt")
        .filter(gateway=payment.gateway, ref=fact.ref)
        .first()
    )
    if found is not None:
        return found
    row = Dispute(
        payment=payment,
        attempt=attempt,
        gateway=payment.gateway,
        ref=fact.ref,
        amount=fact.amount,
        currency=fact.currency,
        phase=fact.phase,
        reason_code=fact.reason_code,
        respond_by=datetime.fromtimestamp(fact.respond_by, UTC) if fact.respond_by else None,
        look_applied=look,
    )
    row.save(force_insert=True)
    reach("disputes.opened")
    _freeze(payment, row)
    _record(payment, row, "opened", None)
    _tell_staff(payment, row)
    return row


def _tell_staff(payment: Payment, row: Dispute) -> None:
    """Write to whoever decides about money; without any, nobody is told but the console.

    Idempotent: by dispute and person. Enqueues: dispute-opened
    """
    people = get_user_model().objects.filter(is_staff=True, status=UserStatus.ACTIVE, groups__name="finance")
    for person in people.order_by("pk"):
        outbox.enqueue(
            "dispute-opened",
            user=person,
            cause=f"dispute:{row.pk}:opened:{person.pk}",
            context={
                "payment_id": str(payment.pk),
                "ref": row.ref,
                "gateway": row.gateway,
                "amount": display(row.amount, row.currency),
                "reason": row.reason_code.replace("_", " ") or "not told",
                "respond_by": row.respond_by.date().isoformat() if row.respond_by else "",
                "link": f"{settings.PUBLIC_URL}/admin/billing/payment/{payment.pk}/change/",
            },
        )


def _follow(row: Dispute, fact: DisputeFact) -> None:
    """Carry over what may change without the state: the phase and the day by which to answer."""
    respond_by = datetime.fromtimestamp(fact.respond_by, UTC) if fact.respond_by else None
    if (row.phase, row.respond_by) == (fact.phase, respond_by):
        return
    old = {"phase": row.phase, "respond_by": row.respond_by}
    row.phase, row.respond_by = fact.phase, respond_by
    row.save(update_fields=["phase", "respond_by", "look_applied", "updated_at"])
    audit.record("dispute.updated", row, old=old, new={"phase": row.phase, "respond_by": respond_by})


def _move(payment: Payment, row: Dispute, fact: DisputeFact) -> None:
    old = row.state
    state = DisputeState(fact.status.value)
    if state not in DISPUTE_TRANSITIONS[old]:
        return
    row.state = state
    row.save(update_fields=["state", "look_applied", "updated_at"])
    if old == DisputeState.LOST:
        _recover(payment, row)
    if fact.status is DisputeStatus.OPEN:
        row.round += 1
        _freeze(payment, row)
    elif fact.status is DisputeStatus.LOST:
        _lose(payment, row, fact)
    else:
        _thaw(row)
    row.save()
    if _is_part_of_price(row):
        restand(payment)
    _record(payment, row, "reopened" if state == DisputeState.OPEN else state.value, old)


def _record(payment: Payment, row: Dispute, verb: str, old: str | None) -> None:
    audit.record(
        f"dispute.{verb}",
        row,
        old={"state": old} if old else None,
        new={"state": row.state, "amount": row.amount, "currency": row.currency, "phase": row.phase},
        metadata={"payment": payment.pk, "ref": row.ref, "reason": row.reason_code},
        user=payment.user_id,
    )


def _is_part_of_price(row: Dispute) -> bool:
    return row.attempt.counts == Counts.PRICE


def _freeze_key(row: Dispute) -> str:
    return f"dispute:{row.pk}:{row.round}:freeze"


def _freeze(payment: Payment, row: Dispute) -> None:
    """Put the credits that the claim stands for out of reach, as far as they are free; `tend` gets the rest."""
    row.frozen = 0
    if _is_part_of_price(row):
        row.frozen = max(0, payment.due(also_gone=row.amount) - payment.taken)
    row.save(update_fields=["frozen", "updated_at"])
    if row.frozen:
        _freeze_more(payment, row)
    if _is_part_of_price(row):
        restand(payment)


def _thaw(row: Dispute) -> None:
    if row.frozen:
        ledger.thaw(key=_freeze_key(row))
        row.frozen = 0


def _freeze_more(payment: Payment, row: Dispute) -> None:
    ledger.freeze(
        user_id=payment.user_id,
        amount=row.frozen,
        key=_freeze_key(row),
        subject=("dispute", row.pk),
        **purse(payment),
    )


def _lose(payment: Payment, row: Dispute, fact: DisputeFact) -> None:
    """The money is gone, like a full refund that nobody sent; what cannot be taken back blocks spending."""
    ledger.record_money(
        gateway=row.gateway,
        amount=fact.lost,
        currency=row.currency,
        key=f"dispute:{row.pk}:{row.round}",
        kind="clawback",
        subject=("dispute", row.pk),
        memo=row.reason_code,
    )
    reach("disputes.lost")
    row.lost = fact.lost
    if not _is_part_of_price(row):
        return
    row.applied = min(fact.lost, payment.received - payment.refunded - payment.lost)
    payment.lost += row.applied
    restand(payment)
    if row.applied < fact.lost:
        breaks.file(
            BreakKind.LOSS_EXCESS,
            cause=f"loss_excess:{row.pk}:{row.round}",
            gateway=row.gateway,
            payment=payment,
            amount=fact.lost - row.applied,
            currency=row.currency,
            details={"dispute": str(row.pk), "ref": row.ref},
        )
    collect(
        payment,
        key=f"dispute:{row.pk}:{row.round}:clawback",
        subject=("dispute", row.pk),
        freeze_key=_freeze_key(row) if row.frozen else "",
        is_blocking=True,
    )
    row.frozen = 0


def _recover(payment: Payment, row: Dispute) -> None:
    """A lost case was decided again in our favour: money and credits come back."""
    ledger.record_money(
        gateway=row.gateway,
        amount=row.lost,
        currency=row.currency,
        key=f"dispute:{row.pk}:{row.round}:reverse",
        subject=("dispute", row.pk),
        memo="the dispute was won after all",
    )
    reach("disputes.recovered")
    row.lost = 0
    if _is_part_of_price(row):
        payment.lost -= row.applied
        row.applied = 0
        row.returned += give_back(
            payment,
            key=f"dispute:{row.pk}:{row.round}:reverse:credits",
            subject=("dispute", row.pk),
            reason="the dispute was won after all",
        )
    row.round += 1


@audit.writes("dispute")
def tend() -> int:
    """Freeze what has come free since an open dispute asked for more than there was. Returns how many were looked at.

    Idempotent: the ledger's freeze is by key, towards one amount.
    """
    free = CreditLot.objects.filter(
        source_type=OuterRef("source_type"), source_id=OuterRef("source_id"), remaining__gt=F("frozen")
    )
    short = Freeze.objects.filter(
        Exists(free) | ~Q(wallet__unit=CREDIT),
        state=Freeze.State.OPEN,
        subject_type="dispute",
        amount__lt=F("wanted"),
        wallet__balance__gt=F("wallet__held") + F("wallet__frozen"),
    )
    waiting = Dispute.objects.filter(pk__in=short.values("subject_id"), state=DisputeState.OPEN)
    looked = 0
    for row in waiting.order_by("pk")[:BATCH]:
        with transaction.atomic():
            payment = lock(row.payment_id)
            locked = Dispute.objects.select_for_update(of=("self",), no_key=True).get(pk=row.pk)
            if locked.state == DisputeState.OPEN and locked.frozen:
                _freeze_more(payment, locked)
                looked += 1
    return looked

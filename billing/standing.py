"""What every change to a payment's money shares: its lock, the state by its figures, the goods that follow them."""

from __future__ import annotations

import uuid
from typing import TypedDict

from django.db.models import QuerySet

import audit
from billing import ledger
from billing.ledger import expiry
from billing.models import Debt, HouseKind, Payment, PaymentState
from billing.models.payments import TRANSITIONS, Counts, Fulfilment
from core.money import CREDIT


def lock(payment_id: uuid.UUID) -> Payment:
    """The payment's row, locked until the transaction ends. The first lock of every change to money."""
    rows: QuerySet[Payment] = Payment.objects.select_for_update(of=("self",), no_key=True)
    return rows.get(pk=payment_id)


def move(payment: Payment, state: PaymentState, *also: str) -> None:
    """Change the state of a locked payment along TRANSITIONS; `also` names other fields that were set.

    Raises: ValueError for a transition that does not exist: the caller has forgotten a case.
    """
    if state != payment.state:
        if state not in TRANSITIONS[payment.state]:
            raise ValueError(f"{payment} cannot become {state} from {payment.state}")
        payment.state = state
    payment.save(update_fields=["state", "updated_at", *also])


def restand(payment: Payment, *also: str) -> None:
    """Save a locked payment's figures, and the state that they give it once its price was covered."""
    state = PaymentState(payment.state)
    if payment.fulfilment != Fulfilment.NONE:
        claims = payment.disputes.filter(state="open", attempt__counts=Counts.PRICE)
        state = payment.standing(is_disputed=claims.exists())
    move(payment, state, "received", "refunded", "refunding", "lost", *also)


class Purse(TypedDict, total=False):
    source: ledger.Subject
    unit: str
    wallet_kind: str


def purse(payment: Payment) -> Purse:
    """Where the ledger finds what a payment brought: credits by their source, money on the wallet that it filled."""
    if payment.unit == CREDIT:
        return {"source": ("payment", payment.pk)}
    return {"unit": payment.unit, "wallet_kind": payment.wallet_kind}


def collect(
    payment: Payment, *, key: str, subject: tuple[str, uuid.UUID], freeze_key: str = "", is_blocking: bool = False
) -> int:
    """Take back what the money gone stands for, as far as not yet taken; the rest becomes a debt.

    Idempotent: by key. Locks: the caller holds the payment; the wallet, then lots.
    """
    need = payment.due() - payment.taken
    if need <= 0:
        if freeze_key:
            ledger.thaw(key=freeze_key)
        return 0
    ledger.claw_back(
        user_id=payment.user_id,
        amount=need,
        key=key,
        subject=subject,
        freeze_key=freeze_key or None,
        is_blocking=is_blocking,
        house=HouseKind.ISSUED if payment.unit == CREDIT else HouseKind.SALES,
        memo=payment.title,
        **purse(payment),
    )
    payment.taken += need
    payment.save(update_fields=["taken", "updated_at"])
    return need


def give_back(payment: Payment, *, key: str, subject: tuple[str, uuid.UUID], reason: str) -> int:
    """Return what was taken for money which has come back after all: first off the debt, then as a grant. Money is
    granted whole and repays the debt by itself, which also takes back what was written off for it.

    Idempotent: the caller's state, and by key. Locks: the caller holds the payment; the wallet, then the debts.
    """
    surplus = payment.taken - payment.due()
    if surplus <= 0:
        return 0
    # The wallet before its owner's debts, as everywhere: a grant of another payment holds it and wants those debts.
    expiry.lock_of(payment.user_id, payment.wallet_kind, payment.unit)
    left = surplus
    owed: QuerySet[Debt] = Debt.objects.filter(
        user_id=payment.user_id, subject_type=subject[0], subject_id=subject[1], remaining__gt=0, unit=CREDIT
    )
    for debt in owed.order_by("pk"):
        if debt.remaining <= left:
            left -= debt.remaining
            ledger.waive(debt_id=debt.pk, reason=reason)
    if left:
        ledger.grant(
            user_id=payment.user_id,
            amount=left,
            category="paid" if payment.unit == CREDIT else None,
            house=HouseKind.ISSUED if payment.unit == CREDIT else HouseKind.SALES,
            key=key,
            subject=subject,
            memo=reason,
            **purse(payment),
        )
    payment.taken -= surplus
    payment.save(update_fields=["taken", "updated_at"])
    audit.record(
        "payment.grant_returned",
        payment,
        new={"amount": surplus, "unit": payment.unit},
        metadata={"why": reason},
        user=payment.user_id,
    )
    return surplus

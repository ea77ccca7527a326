"""All of a payment's money back, because what it bought is not wanted any more; what higher apps call."""

from __future__ import annotations

from typing import Any

import audit
from billing import refunds
from billing.errors import RefundNotPossible
from billing.models import Payment, RefundOrigin
from billing.models.payments import Counts


@audit.writes("refund")
def send_back(payment: Payment, *, cause: str, reason: str, actor: Any = None) -> int:
    """Send back whatever is left of a payment, because what it paid for was canceled. Answers how much.

    Units: the currency's minor unit.
    Locks: the caller holds the payment. Raises: RefundNotPossible while a dispute is open.
    Enqueues: billing.send_refunds
    """
    if payment.disputes.filter(state="open").exists():
        raise RefundNotPossible("A dispute is open on this payment; the bank decides about the money first.")
    total = 0
    for attempt in payment.attempts.filter(counts=Counts.PRICE).order_by("pk"):
        amount = min(refunds.left_on(attempt), payment.room)
        if amount > 0:
            refunds.reserve(
                payment,
                attempt,
                amount=amount,
                origin=RefundOrigin.CANCELED,
                cause=f"{cause}:{attempt.pk}",
                reason=reason,
                actor=actor,
            )
            total += amount
    return total

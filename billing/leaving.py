"""What billing does when a person is erased: payments are closed, what is left of the balance is posted as expired."""

from __future__ import annotations

from typing import Any

from billing import ledger, payments
from billing.errors import PaymentSettled
from billing.models import Payment, Wallet
from billing.models.payments import OPEN


def erase(*, user: Any) -> list[str]:
    """Close open payments and post what is free as expired (settings.ACCOUNT_ERASED). Answers what is still open.

    Money that comes for a closed payment is refused by fulfilment, so it is recorded and refunded in full. A debt
    stays in the books.
    Idempotent: by state.
    """
    for payment in Payment.objects.filter(user=user, state__in=OPEN).order_by("pk"):
        try:
            payments.cancel(payment)
        except PaymentSettled:  # it was paid just now
            continue
    ledger.forfeit(user_id=user.pk)
    waits_for = []
    if Payment.objects.filter(user=user, state__in=OPEN).exists():
        waits_for.append("payments")
    if Wallet.objects.filter(user=user, held__gt=0).exists():
        waits_for.append("held credits")
    return waits_for

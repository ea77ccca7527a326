"""What billing does when a person is erased: payments and subscriptions end, the rest of the balance expires."""

from __future__ import annotations

from typing import Any

import structlog

from billing import ledger, payments, subscriptions
from billing.errors import PaymentSettled
from billing.models import Payment, Subscription, Wallet
from billing.models.payments import OPEN
from core.errors import Error

log = structlog.get_logger("leaving")


def erase(*, user: Any) -> list[str]:
    """End the subscription, close open payments and post what is free as expired (settings.ACCOUNT_ERASED).

    Answers what is still open.

    Money that comes for a closed payment is refused by fulfilment, so it is recorded and refunded in full. A debt
    stays in the books.
    Idempotent: by state.
    """
    for row in Subscription.objects.filter(user=user).live():
        try:
            subscriptions.cancel(row, at_once=True)
        except Error as error:  # asked for; the poller, or the next round here, finishes it
            log.warning("subscription_not_ended", subscription=str(row.pk), error=error.code)
    for payment in Payment.objects.filter(user=user, state__in=OPEN).order_by("pk"):
        try:
            payments.cancel(payment)
        except PaymentSettled:  # it was paid just now
            continue
    ledger.forfeit(user_id=user.pk)
    waits_for = []
    if Subscription.objects.filter(user=user).live().exists():
        waits_for.append("subscriptions")
    if Payment.objects.filter(user=user, state__in=OPEN).exists():
        waits_for.append("payments")
    if Wallet.objects.filter(user=user, held__gt=0).exists():
        waits_for.append("held credits")
    return waits_for

"""What the store does when a person is erased: what has not been shipped is canceled, and no address is left."""

from __future__ import annotations

from typing import Any

import structlog
from django.db import transaction

import audit
from billing.models import Refund, RefundOrigin, RefundState
from core.errors import Error
from store import orders
from store.models import RESERVING, Because, Order, OrderState

log = structlog.get_logger("leaving")


@audit.writes("order")
def erase(*, user: Any) -> list[str]:
    """Cancel and refund what can be, forget where the rest went (settings.ACCOUNT_ERASED). Answers what is still open.

    What was ordered and paid stays: it is in the books. It waits for refunds that have not left yet: one to a wallet
    must arrive before the wallet is emptied.
    Idempotent: by state.
    """
    mine = Order.objects.filter(user=user)
    for order in mine.filter(state__in=RESERVING).order_by("pk"):
        try:
            orders.cancel(order, because=Because.ERASED)
        except Error as error:  # a dispute is open, or it is being paid just now: the next round here
            log.warning("order_not_canceled", order=str(order.pk), error=error.code)
    for order in mine.filter(state=OrderState.CANCELED, because=Because.UNPAID):
        orders.cancel(order, because=Because.ERASED)
    if mine.filter(state__in=RESERVING).exists():
        return ["orders"]
    with transaction.atomic():
        forgotten = mine.exclude(address={}, tracking="").update(address={}, tracking="")
        if forgotten:
            audit.record("order.address_erased", ("user", user.pk), user=user, metadata={"orders": forgotten})
    leaving = Refund.objects.filter(
        payment__user=user, origin=RefundOrigin.CANCELED, state=RefundState.REQUESTED, next_at__isnull=False
    )
    return ["refunds"] if leaving.exists() else []

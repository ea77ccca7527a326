"""Orders that nobody pays: their stock is free again, but not before no payment of them can come any more."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import structlog
from django.db import connection, transaction

import audit
from billing import payments
from billing.errors import GatewayUnavailable, PaymentSettled
from billing.gateways.base import GatewayError
from billing.models import Payment
from billing.models.payments import OPEN, PAID
from core import jobs
from core.killpoints import reach
from store import orders
from store.models import Because, Order, OrderState

log = structlog.get_logger("store")

BATCH = 20
AGAIN = timedelta(seconds=60)  # a sweeper that dies, or a gateway that does not answer


def sweep() -> int:
    """Give up the orders whose time is over. Returns how many were looked at.

    Idempotent: by state; each is looked at again until it is given up or paid.
    """
    due = _claim()
    for order_id in due:
        try:
            give_up(order_id)
        except (GatewayError, GatewayUnavailable) as error:
            log.warning("order_kept", order=str(order_id), error=str(error))
        except Exception:
            # One order that cannot be worked on must not keep the others waiting; it stays due.
            log.exception("order_not_given_up", order=str(order_id))
    if len(due) == BATCH:
        jobs.wake("store.give_up_orders")
    return len(due)


@audit.writes("order")
def give_up(order_id: UUID) -> bool:
    """Look at every payment of an order whose time is over, close them, and cancel it unless it was paid. Answers
    whether it was canceled.

    Idempotent: by state. Locks: order → products.
    Raises: GatewayError, GatewayUnavailable where nobody can tell whether it was paid: the stock stays reserved.
    Enqueues: order-canceled
    """
    order = Order.objects.get(pk=order_id)
    mine = Payment.objects.filter(user_id=order.user_id, item=order.item)
    for payment in mine.exclude(state__in=PAID).order_by("pk"):
        try:
            payments.withdraw(payment, why="the order was not paid in time")
        except PaymentSettled:  # just now
            continue
    reach("orders.closing")
    with transaction.atomic():
        order = orders.lock(order_id)
        if order.state != OrderState.PENDING or mine.filter(state__in=OPEN).exists():
            return False
        orders.give_up(order, Because.UNPAID)
    return True


def _claim() -> list[UUID]:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE store_order SET next_at = statement_timestamp() + make_interval(secs => %s)
            WHERE id IN (
                SELECT id FROM store_order
                WHERE next_at <= statement_timestamp() AND expires_at <= statement_timestamp()
                ORDER BY next_at LIMIT %s FOR NO KEY UPDATE SKIP LOCKED
            )
            RETURNING id
            """,
            [AGAIN.total_seconds(), BATCH],
        )
        return [row[0] for row in cursor.fetchall()]

"""The store's side of a payment for `order:<id>`: what it costs, and what its money brings."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models.functions import Now

from billing.errors import NotForSale
from billing.fulfilment import Fulfilled, Refused
from billing.models import Payment
from billing.pricing import Quote
from core.errors import Invalid, detail
from store import orders, stock
from store.models import Because, Order, OrderState


def quote(*, user: Any, rest: str, currency: str) -> Quote:
    """The price of one's own order that waits to be paid, in its own currency (settings.BILLING_QUOTES).

    Raises: Invalid, NotForSale.
    """
    order = _find(user, rest)
    if order is None:
        message = f"You have no order {rest!r}."
        raise Invalid(message, details=[detail("unknown_item", message, "item")])
    if order.state != OrderState.PENDING:
        raise _refusal(f"This order is {order.state}; there is nothing to pay.")
    if not Order.objects.filter(pk=order.pk, expires_at__gt=Now()).exists():
        raise _refusal("The time to pay this order is over; place it again.")
    return Quote(order.item, "order", title(order), 0, order.amount, order.currency, wallet_kind="")


def _find(user: Any, rest: str) -> Order | None:
    try:
        wanted = UUID(rest)
    except ValueError:
        return None
    mine = Order.objects.filter(user=user, pk=wanted) if user is not None else Order.objects.none()
    return mine.prefetch_related("lines").first()


def _refusal(message: str) -> NotForSale:
    return NotForSale(message, details=[detail("not_for_sale", message, "item")])


def title(order: Order) -> str:
    """What a checkout calls it."""
    first, *others = order.lines.all()
    more = f" and {len(others)} more" if others else ""
    return f"{str(first)[: 120 - len(more)]}{more}"


def deliver(*, payment: Payment) -> Fulfilled | Refused:
    """Confirm the order that a payment has paid (settings.BILLING_FULFILMENT). One that was given up unpaid gets its
    goods reserved again, if they are there.

    Idempotent: by the order's payment. Locks: the caller holds the payment; order → products.
    """
    order = orders.lock(UUID(payment.item.partition(":")[2]))
    if order.payment_id is not None:
        return Fulfilled() if order.payment_id == payment.pk else Refused("this order had been paid already")
    if order.state == OrderState.CANCELED:
        if order.because != Because.UNPAID:
            return Refused("the order was canceled")
        wanted = order.wanted()
        if stock.short(stock.lock(wanted), wanted):
            return Refused("the payment came too late, and the goods have been sold")
        stock.reserve(wanted)
    orders.confirm(order, payment)
    return Fulfilled()

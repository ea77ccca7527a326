"""An order's life: placed with its stock, confirmed by its payment, shipped and delivered by staff, or canceled.

How a payment confirms it stands in `goods`, what happens to one that nobody pays in `unpaid`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

import audit
from billing import payments, returns, sales, standing
from billing.errors import PaymentSettled
from billing.models import Payment
from billing.models.payments import OPEN
from core import context
from core.errors import Conflict, Invalid, NotFound, PermissionDenied, detail
from core.killpoints import reach
from core.money import display
from store import stock, telling
from store.errors import MixedCurrencies, OrderShipped, OrderStatusRefused, OutOfStock
from store.models import TRANSITIONS, Because, Order, OrderLine, OrderState, Product

STAFF_MAY = (OrderState.SHIPPED, OrderState.DELIVERED, OrderState.CANCELED)


@dataclass(frozen=True, slots=True)
class Wanted:
    product: UUID
    quantity: int


def lock(order_id: UUID) -> Order:
    """The order's row, locked until the transaction ends: after its payment, before its products.

    Raises: Order.DoesNotExist.
    """
    rows: QuerySet[Order] = Order.objects.select_for_update(of=("self",), no_key=True)
    return rows.prefetch_related("lines").get(pk=order_id)


# --- Placing ----------------------------------------------------------------------------------------------------------


@audit.writes("order")
def place(*, user: Any, lines: Sequence[Wanted], address: Mapping[str, str]) -> Order:
    """Order products at today's prices; they are kept for the order until it is paid or given up.

    Locks: the products.
    Raises: SalesStopped; Invalid for products that are not for sale, MixedCurrencies, OutOfStock.
    """
    sales.insist()
    wanted = {line.product: line.quantity for line in lines}
    with transaction.atomic():
        products = {pk: row for pk, row in stock.lock(wanted).items() if row.is_active}
        _check(lines, products)
        order = Order(
            user=user,
            amount=sum(products[line.product].amount * line.quantity for line in lines),
            currency=products[lines[0].product].currency,
            address=dict(address),
            expires_at=Now() + _time_limit(),
            next_at=Now() + _time_limit(),
        )
        order.save(force_insert=True)
        OrderLine.objects.bulk_create(
            OrderLine(
                order=order,
                product_id=line.product,
                position=n,
                name=products[line.product].name,
                quantity=line.quantity,
                amount=products[line.product].amount,
            )
            for n, line in enumerate(lines, 1)
        )
        stock.reserve(wanted)
        audit.record(
            "order.placed",
            order,
            new={"amount": order.amount, "currency": order.currency, "lines": {str(pk): n for pk, n in wanted.items()}},
            user=user,
        )
        reach("orders.placed")
    return order


def _time_limit() -> timedelta:
    return timedelta(seconds=settings.ORDER_EXPIRES_S)


def _check(lines: Sequence[Wanted], products: Mapping[UUID, Product]) -> None:
    unknown = [str(line.product) for line in lines if line.product not in products]
    if unknown:
        raise Invalid(
            details=[
                detail("unknown_product", f"There is no product {pk} for sale.", "lines", product=pk) for pk in unknown
            ]
        )
    currencies = sorted({products[line.product].currency for line in lines})
    if len(currencies) > 1:
        message = f"These are sold in {' and '.join(currencies)}."
        raise MixedCurrencies(details=[detail("mixed_currencies", message, "lines")])
    short = stock.short(products, {line.product: line.quantity for line in lines})
    if short:
        raise OutOfStock(
            details=[
                detail(
                    "out_of_stock",
                    f"{products[pk].name}: {left} left." if left else f"{products[pk].name} is sold out.",
                    "lines",
                    product=str(pk),
                    available=left,
                )
                for pk, left in short.items()
            ]
        )


# --- Canceling --------------------------------------------------------------------------------------------------------


@audit.writes("order")
def cancel(order: Order, *, because: Because = Because.BUYER, actor: Any = None, reason: str = "") -> Order:
    """Give an order up: what is open to pay it is closed, what was paid goes back in full, the stock is free again.
    Money that comes later all the same is refunded.

    Idempotent: by state.
    Locks: payment → order → products.
    Raises: OrderShipped; RefundNotPossible while a bank's dispute is open; Conflict.
    Enqueues: order-canceled; billing.send_refunds
    """
    for _ in range(5):
        _close_payments(order)
        reach("orders.closing")
        done = _cancel(order, because=because, actor=actor, reason=reason)
        if done is not None:
            reach("orders.canceled")
            return done
    raise Conflict("This order is being paid just now; try again.", retry_after=2)


def _close_payments(order: Order) -> None:
    for payment in Payment.objects.filter(user_id=order.user_id, item=order.item, state__in=OPEN):
        try:
            payments.cancel(payment)
        except PaymentSettled:  # it was paid just now, and the order with it
            continue


def _cancel(order: Order, *, because: Because, actor: Any, reason: str) -> Order | None:
    """None when it was paid meanwhile: the payment has to be locked first."""
    with transaction.atomic():
        paid_by = Order.objects.values_list("payment_id", flat=True).get(pk=order.pk)
        payment = standing.lock(paid_by) if paid_by else None
        order = lock(order.pk)
        if order.payment_id != paid_by:
            return None
        if order.state == OrderState.CANCELED:
            _insist(order, because)
            return order
        if OrderState.CANCELED not in TRANSITIONS[order.state]:
            raise OrderShipped(charged="settled")
        refunded = 0
        if payment is not None:
            refunded = returns.send_back(
                payment, cause=f"order:{order.pk}", reason=reason or because.label, actor=actor
            )
        give_up(order, because, refunded=refunded, actor=actor, reason=reason)
    return order


def _insist(order: Order, because: Because) -> None:
    """An order given up unpaid is now not wanted any more: late money goes back instead of confirming it."""
    if order.because == Because.UNPAID and because != Because.UNPAID:
        order.because = because
        order.save(update_fields=["because", "updated_at"])
        audit.record(
            "order.declined", order, old={"because": Because.UNPAID}, new={"because": because}, user=order.user_id
        )


def give_up(order: Order, because: Because, *, refunded: int = 0, actor: Any = None, reason: str = "") -> None:
    """Cancel a locked order that may be canceled, and give its stock back. Enqueues: order-canceled"""
    old = order.state
    order.state, order.because, order.next_at = OrderState.CANCELED, because, None
    _stamp(order, "canceled_at", "because")
    stock.release(order.wanted())
    audit.record(
        "order.canceled",
        order,
        old={"state": old},
        new={"state": order.state, "because": because},
        metadata={"refunded": refunded, "reason": reason},
        user=order.user_id,
        actor_id=getattr(actor, "pk", None),
    )
    telling.canceled(order, refunded=display(refunded, order.currency) if refunded else "")
    reach("orders.given_up")


# --- What payment and staff do ----------------------------------------------------------------------------------------


def confirm(order: Order, payment: Payment) -> None:
    """Mark a locked order, whose stock is reserved, as paid by the payment. Enqueues: order-confirmed"""
    old = order.state
    order.state, order.payment, order.because, order.canceled_at = OrderState.CONFIRMED, payment, "", None
    order.next_at = None
    _stamp(order, "confirmed_at", "payment", "because", "canceled_at")
    audit.record(
        "order.confirmed",
        order,
        old={"state": old},
        new={"state": order.state, "payment": payment.pk},
        user=order.user_id,
    )
    telling.confirmed(order)
    reach("orders.confirmed")


@audit.writes("order")
def advance(order_id: UUID, *, status: str, actor: Any, tracking: str = "", reason: str = "") -> Order:
    """Move an order on, as staff: shipped, delivered or canceled. Only a payment confirms one.

    Idempotent: an order that is there already stays as it is.
    Locks: payment → order → products.
    Raises: NotFound, PermissionDenied for one's own, OrderStatusRefused, OrderShipped, RefundNotPossible, Conflict.
    Enqueues: order-shipped, order-canceled
    """
    found = Order.objects.filter(pk=order_id).first()
    if found is None:
        raise NotFound
    if found.user_id == actor.pk:
        raise PermissionDenied("Nobody does this for themselves.")
    with context.use(on_behalf_of_id=found.user_id):
        if status == OrderState.CANCELED:
            return cancel(found, because=Because.STAFF, actor=actor, reason=reason)
        return _advance(order_id, status, actor=actor, tracking=tracking, reason=reason)


def _advance(order_id: UUID, status: str, *, actor: Any, tracking: str, reason: str) -> Order:
    with transaction.atomic():
        order = lock(order_id)
        if order.state == status:
            return order
        if status not in STAFF_MAY or status not in TRANSITIONS[order.state]:
            raise OrderStatusRefused(f"This order is {order.state}; it cannot become {status} from there.")
        old, order.state = order.state, OrderState(status)
        if status == OrderState.SHIPPED:
            order.tracking = tracking
            _stamp(order, "shipped_at", "tracking")
            stock.ship(order.wanted())
            telling.shipped(order)
        else:
            _stamp(order, "delivered_at")
        audit.record(
            f"order.{status}",
            order,
            old={"state": old},
            new={"state": status, "tracking": order.tracking},
            metadata={"reason": reason} if reason else None,
            user=order.user_id,
            actor_id=actor.pk,
        )
    return order


def _stamp(order: Order, moment: str, *also: str) -> None:
    """Save a locked order's new state with the database's time of it."""
    setattr(order, moment, Now())
    order.save(update_fields=["state", "next_at", "updated_at", moment, *also])
    order.refresh_from_db(fields=[moment])

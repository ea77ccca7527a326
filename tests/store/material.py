"""Products and orders, made by the functions that clients reach."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

from django.db.models.functions import Now

from accounts.models import User
from billing import payments
from billing.models import Payment
from core.ids import new_id
from store import orders, products
from store.models import Order, Product
from store.orders import Wanted
from tests.billing.given import topped_up

_numbers = itertools.count(1)
ADDRESS = {
    "name": "Ana Souza",
    "street": "Rua das Flores 12",
    "city": "Sao Paulo",
    "state": "SP",
    "postcode": "01001000",
    "country": "BR",
}


class Nobody:
    pk = None


def product(stock: int = 3, amount: int = 250_000, currency: str = "NGN", **values: Any) -> Product:
    """A product on the shelf."""
    named = {"name": f"Tree {next(_numbers)}", "category": "bonsai"} | values
    return products.create(values={"amount": amount, "currency": currency, "stock": stock, **named}, actor=Nobody())


def placed(user: User, *of: Product, quantity: int = 1) -> Order:
    """A pending order of some products, or of one of its own."""
    lines = [Wanted(row.pk, quantity) for row in of or [product()]]
    return orders.place(user=user, lines=lines, address=ADDRESS)


def paid(user: User, order: Order) -> Payment:
    """The order, paid from the buyer's own wallet, which gets the money for it first."""
    topped_up(user, order.amount)
    return payments.start(user=user, item=order.item, gateway="wallet", currency="NGN").payment


def confirmed(user: User, *of: Product, quantity: int = 1) -> Order:
    order = placed(user, *of, quantity=quantity)
    paid(user, order)
    return fresh(order)


def run_out(order: Order) -> None:
    """Its time is over."""
    Order.objects.filter(pk=order.pk).update(expires_at=Now() - timedelta(seconds=1), next_at=Now())


def fresh(order: Order) -> Order:
    return Order.objects.get(pk=order.pk)


def shelf(of: Product) -> tuple[int, int]:
    """What lies there, what of it is reserved."""
    row = Product.objects.get(pk=of.pk)
    return row.stock, row.reserved


def order_body(*of: Product, quantity: int = 1, **address: Any) -> dict[str, Any]:
    return {
        "items": [{"product": str(row.pk), "quantity": quantity} for row in of],
        "address": ADDRESS | address,
    }


def key() -> dict[str, str]:
    return {"Idempotency-Key": new_id().hex}

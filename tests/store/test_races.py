"""Orders under real concurrency: each thread has its own connection and commits."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

import pytest

from billing import payments, refunds
from billing.errors import NotForSale
from billing.models import Payment
from store import orders, products, unpaid
from store.errors import OrderShipped, OrderStatusRefused, OutOfStock, StockReserved
from store.models import Order, Product
from tests import books
from tests.billing import given
from tests.billing.racing import crowd, race
from tests.store.material import Nobody, confirmed, fresh, placed, product, run_out, shelf

pytestmark = pytest.mark.django_db(transaction=True)


def kinds(answers: list[Any]) -> Counter[type]:
    return Counter(type(found) for found in answers)


def test_a_hundred_buyers_for_the_last_three() -> None:
    tree = product(3)
    buyers = [given.person() for _ in range(100)]
    for buyer in buyers:
        given.topped_up(buyer, tree.amount)

    def buy(buyer: Any) -> Order:
        order = placed(buyer, tree)
        payments.start(user=buyer, item=order.item, gateway="wallet", currency="NGN")
        return order

    answers = crowd(16, [partial(buy, buyer) for buyer in buyers])

    assert kinds(answers) == {Order: 3, OutOfStock: 97}
    assert shelf(tree) == (3, 3)
    assert Counter(Order.objects.values_list("state", flat=True)) == {"confirmed": 3}
    charged = set(Payment.objects.values_list("user_id", flat=True))
    assert charged == set(Order.objects.values_list("user_id", flat=True))
    assert sorted(given.wallet(buyer, "primary").balance for buyer in buyers) == [0] * 3 + [tree.amount] * 97
    books.check()


def test_orders_of_the_same_products_in_any_order_do_not_deadlock() -> None:
    shelves = [product(1_000) for _ in range(4)]
    buyers = [given.person() for _ in range(8)]

    answers = crowd(8, [partial(placed, buyers[n % 8], *(shelves if n % 2 else reversed(shelves))) for n in range(48)])

    assert kinds(answers) == {Order: 48}
    assert [shelf(row) for row in shelves] == [(1_000, 48)] * 4
    books.check()


def test_canceling_against_paying() -> None:
    for _ in range(8):
        tree, buyer = product(1), given.person()
        order = placed(buyer, tree)
        given.topped_up(buyer, order.amount)

        race(
            partial(payments.start, user=buyer, item=order.item, gateway="wallet", currency="NGN"),
            partial(orders.cancel, order),
        )
        refunds.send_due()

        assert (fresh(order).state, shelf(tree)) == ("canceled", (1, 0))
        assert given.wallet(buyer, "primary").balance == order.amount
    books.check()


def test_giving_up_against_paying() -> None:
    for _ in range(8):
        tree, buyer = product(1), given.person()
        order = placed(buyer, tree)
        given.topped_up(buyer, order.amount)
        pay = partial(payments.start, user=buyer, item=order.item, gateway="wallet", currency="NGN")

        def give_up(order: Order = order) -> None:
            run_out(order)
            unpaid.sweep()

        answers = race(pay, give_up)
        refunds.send_due()

        # Paid and confirmed, whether its stock had to be reserved again or not; or never begun.
        state, left = fresh(order).state, given.wallet(buyer, "primary").balance
        assert (state, left, shelf(tree)) in [("confirmed", 0, (1, 1)), ("canceled", order.amount, (1, 0))]
        assert not isinstance(answers[0], Exception) or isinstance(answers[0], NotForSale)
    books.check()


def test_canceling_against_shipping() -> None:
    for _ in range(8):
        tree, buyer = product(1), given.person()
        order = confirmed(buyer, tree)

        answers = race(
            partial(orders.cancel, order), partial(orders.advance, order.pk, status="shipped", actor=Nobody())
        )
        refunds.send_due()

        state = fresh(order).state
        assert (state, shelf(tree)) in [("canceled", (1, 0)), ("shipped", (0, 0))]
        assert given.wallet(buyer, "primary").balance == (order.amount if state == "canceled" else 0)
        refused = [found for found in answers if isinstance(found, Exception)]
        assert [type(found) for found in refused] in [[OrderShipped], [OrderStatusRefused]]
    books.check()


def test_a_count_of_the_shelf_against_orders() -> None:
    tree = product(10)
    buyers = [given.person() for _ in range(6)]

    def count(stock: int) -> Any:
        return products.change(product_id=tree.pk, values={"stock": stock}, actor=Nobody())

    answers = race(*[partial(placed, buyer, tree, quantity=2) for buyer in buyers], *[partial(count, 3)] * 3)

    assert {type(found) for found in answers} <= {Order, Product, OutOfStock, StockReserved}
    stock, reserved = shelf(tree)
    assert 0 <= reserved <= stock
    assert reserved == 2 * sum(isinstance(found, Order) for found in answers)
    books.check()


def test_paying_one_order_twice_at_once_takes_one_price() -> None:
    tree, buyer = product(1), given.person()
    order = placed(buyer, tree)
    given.topped_up(buyer, 2 * order.amount)
    pay = partial(payments.start, user=buyer, item=order.item, gateway="wallet", currency="NGN")

    race(*[pay] * 6)
    refunds.send_due()

    assert fresh(order).state == "confirmed"
    assert given.wallet(buyer, "primary").balance == order.amount
    books.check()

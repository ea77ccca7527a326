"""A process that dies at each point of an order's life; once more, and it is right, once."""

from __future__ import annotations

import pytest
from pytest_django import Settings

from billing import payments, refunds
from billing.models import Payment
from core.killpoints import POINTS
from notifications.models import Mail
from store import orders, unpaid
from store.models import Order
from tests import books
from tests.billing.given import topped_up, wallet
from tests.dying import die_at
from tests.people import api, make_user
from tests.store.material import fresh, order_body, placed, product, run_out, shelf

pytestmark = pytest.mark.django_db(transaction=True)
WALKED = ["orders.placed", "orders.confirmed", "orders.closing", "orders.given_up", "orders.canceled"]


def test_every_point_is_walked() -> None:
    assert sorted(WALKED) == sorted(name for name in POINTS if name.startswith("orders."))


def test_a_death_at_each_step(transactional_db: None, settings: Settings) -> None:
    settings.RATELIMIT_ENABLE = False
    alice, tree = make_user("alice@example.com"), product(3)

    body, headers = order_body(tree, quantity=2), {"Idempotency-Key": "once"}
    die_at("orders.placed", lambda: api(alice, **headers).post("/api/v1/orders", body, format="json"))
    assert (Order.objects.count(), shelf(tree)) == (0, (3, 0))
    assert api(alice, **headers).post("/api/v1/orders", body, format="json").status_code == 201
    order = Order.objects.get()
    assert shelf(tree) == (3, 2)

    topped_up(alice, order.amount)
    pay = {"user": alice, "item": order.item, "gateway": "wallet"}
    die_at("orders.confirmed", lambda: payments.start(**pay))
    assert (fresh(order).state, wallet(alice, "primary").balance) == ("pending", 500_000)
    payments.start(**pay)
    assert (fresh(order).state, wallet(alice, "primary").balance) == ("confirmed", 0)
    books.check()

    for point in ("orders.closing", "orders.given_up"):
        die_at(point, lambda: orders.cancel(fresh(order)))
        assert (fresh(order).state, shelf(tree)) == ("confirmed", (3, 2)), point
        books.check()
    die_at("orders.canceled", lambda: orders.cancel(fresh(order)))
    assert (fresh(order).state, shelf(tree)) == ("canceled", (3, 0))
    orders.cancel(fresh(order))
    refunds.send_due()
    assert (Payment.objects.get().state, wallet(alice, "primary").balance) == ("refunded", 500_000)
    assert Mail.objects.filter(name="order-canceled").count() == 1
    books.check()


def test_a_death_while_giving_up_what_is_unpaid(transactional_db: None) -> None:
    alice, tree = make_user("alice@example.com"), product(3)
    for point in ("orders.closing", "orders.given_up"):
        order = placed(alice, tree)
        run_out(order)
        die_at(point, unpaid.sweep)
        assert (fresh(order).state, shelf(tree)) == ("pending", (3, 1)), point
        assert unpaid.sweep() == 0  # its turn comes again
        run_out(order)
        assert unpaid.sweep() == 1
        assert (fresh(order).state, shelf(tree)) == ("canceled", (3, 0)), point
    assert Mail.objects.filter(name="order-canceled").count() == 2
    books.check()

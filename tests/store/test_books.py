"""Orders that the books would not let pass."""

from __future__ import annotations

import pytest
from django.db.models import F
from django.db.models.functions import Now

from accounts.models import User
from billing import books
from billing.models import Payment
from store.models import Order, Product
from tests.store.material import confirmed, placed, product

pytestmark = pytest.mark.django_db


def found() -> set[tuple[str, str]]:
    return {(one.check, one.row) for one in books.run().findings}


def test_stock_that_no_order_waits_for_is_named(alice: User) -> None:
    tree = product()
    placed(alice, tree)
    assert found() == set()

    Product.objects.update(reserved=F("reserved") + 1)

    assert found() == {("order_stock", f"product {tree.pk}")}


def test_an_order_of_another_price_than_its_payment_is_named(alice: User) -> None:
    order = confirmed(alice)
    assert found() == set()

    Order.objects.update(amount=F("amount") + 1)

    assert ("order_payments", f"order {order.pk}") in found()


def test_money_kept_for_what_was_canceled_is_named(alice: User) -> None:
    order = confirmed(alice)

    Order.objects.update(state="canceled", because="buyer", canceled_at=Now())

    assert Payment.objects.get().received == order.amount
    assert ("order_refunds", f"order {order.pk}") in found()

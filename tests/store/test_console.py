"""The store in the ops console: products are kept through the topic's functions, orders are moved by buttons."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from audit.models import AuditLog
from core.money import display
from store.models import Order, Product
from tests import books
from tests.people import PASSWORD
from tests.store.material import confirmed, fresh, placed, product, shelf

pytestmark = pytest.mark.django_db
FORM = {
    "name": "Pine",
    "description": "",
    "category": "bonsai",
    "amount": "89.00",
    "currency": "EUR",
    "image_url": "",
    "stock": "3",
    "is_active": "on",
}


@pytest.fixture
def console(ops: User) -> Client:
    client = Client()
    client.force_login(ops)
    return client


def press(console: Client, button: str, order: Order, **form: str) -> Any:
    url = reverse(f"admin:store_order_{button}", args=[order.pk])
    return console.post(url, {"reason": "Asked for.", "_form_submitted": "True", **form})


def test_a_product_is_added_edited_and_hidden(console: Client, ops: User, alice: User) -> None:
    assert console.post(reverse("admin:store_product_add"), FORM).status_code == 302
    row = Product.objects.get()
    placed(alice, row, quantity=2)

    page = reverse("admin:store_product_change", args=[row.pk])
    assert 'value="89.00"' in console.get(page).content.decode()
    refused = console.post(page, FORM | {"stock": "1"})
    edited = console.post(page, FORM | {"stock": "9", "amount": "99"})
    console.post(reverse("admin:store_product_delete", args=[row.pk]), {"post": "yes"})  # it was ordered: it stays
    console.post(page, {name: value for name, value in FORM.items() if name != "is_active"} | {"stock": "9"})

    assert (refused.status_code, edited.status_code) == (200, 302)
    row.refresh_from_db()
    assert (row.amount, shelf(row), row.is_active) == (8_900, (9, 2), False)
    facts = AuditLog.objects.filter(entity_type="product").order_by("pk")
    assert list(facts.values_list("action", "actor_id")) == [
        ("product.created", ops.pk),
        ("product.updated", ops.pk),
        ("product.updated", ops.pk),
    ]
    assert facts[1].new == {"amount": 9_900, "stock": 9}


def test_an_order_is_shipped_and_delivered(console: Client, alice: User) -> None:
    tree = product(3)
    order = confirmed(alice, tree)

    assert press(console, "ship", order, tracking="BR1").status_code == 302
    assert press(console, "deliver", order).status_code == 302
    assert press(console, "cancel", order).status_code == 200  # the dialog again, with what is wrong

    assert (fresh(order).state, fresh(order).tracking, shelf(tree)) == ("delivered", "BR1", (2, 0))
    books.check()


def test_an_order_is_canceled_with_its_reason(console: Client, alice: User) -> None:
    tree = product(3)
    order = confirmed(alice, tree)

    press(console, "cancel", order)

    assert (fresh(order).state, fresh(order).because, shelf(tree)) == ("canceled", "staff", (3, 0))
    assert AuditLog.objects.get(action="order.canceled").metadata["reason"] == "Asked for."
    books.check()


def test_a_page_shows_its_lines(alice: User) -> None:
    User.objects.create_superuser("boss@example.test", PASSWORD)
    client, order = Client(), placed(alice, product(name="Old pine"))
    client.force_login(User.objects.get(email="boss@example.test"))

    page = client.get(reverse("admin:store_order_change", args=[order.pk]))
    line = order.lines.get()

    assert page.status_code == 200
    assert "Old pine" in page.content.decode()
    assert display(line.amount, order.currency) in page.content.decode()

"""Ordering over REST: at our prices, with stock that is there, for the buyer's eyes alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from accounts.models import User
from audit.models import AuditLog
from billing import refunds
from billing.models import Payment
from notifications.models import Mail
from store.models import Order
from tests import books
from tests.billing.given import topped_up, wallet
from tests.people import api
from tests.store.material import ADDRESS, confirmed, fresh, key, order_body, placed, product, shelf

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _unlimited(settings: Settings) -> None:
    settings.RATELIMIT_ENABLE = False


def post(user: User, path: str = "", body: Any = None, headers: dict[str, str] | None = None) -> Any:
    return api(user, **(headers or key())).post(f"/api/v1/orders{path}", body or {}, format="json")


def test_an_order_is_priced_by_us_and_reserves_its_stock(alice: User) -> None:
    tree, pot = product(3, 250_000), product(5, 40_000)

    answer = post(alice, body=order_body(tree, pot, quantity=2))

    assert answer.status_code == 201, answer.content
    body = answer.json()
    assert answer["Location"] == f"/api/v1/orders/{body['id']}"
    assert (body["status"], body["total"]) == ("pending", {"amount": 580_000, "currency": "NGN"})
    assert [(line["name"], line["quantity"], line["amount"], line["total"]) for line in body["items"]] == [
        (tree.name, 2, 250_000, 500_000),
        (pot.name, 2, 40_000, 80_000),
    ]
    assert body["address"] == {"complement": "", **ADDRESS}
    assert body["address"]["postcode"] == "01001000"
    assert (body["payment"], body["invoice_url"], body["canceled_because"]) == (None, None, None)
    assert (shelf(tree), shelf(pot)) == ((3, 2), (5, 2))
    assert AuditLog.objects.get(action="order.placed").new["amount"] == 580_000
    books.check()


def test_the_same_key_orders_once(alice: User) -> None:
    tree, headers = product(3), key()

    first, second = (post(alice, body=order_body(tree), headers=headers) for _ in range(2))

    assert (first.status_code, second.status_code, second["Idempotent-Replayed"]) == (201, 201, "true")
    assert first.json() == second.json()
    assert shelf(tree) == (3, 1)
    assert api(alice).post("/api/v1/orders", order_body(tree), format="json").status_code == 400


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"items": []}, "items"),
        ({"items": None}, "items"),
        ({"items": [{"product": "x"}]}, "items"),
        ({"total": 1}, "total"),
        ({"status": "confirmed"}, "status"),
        ({"address": {}}, "address"),
        ({"address": ADDRESS | {"postcode": 1001000}}, "address"),
        ({"address": ADDRESS | {"country": "Brazil"}}, "address"),
        ({"address": ADDRESS | {"street": "a\u0000b"}}, "address"),
        ({"address": ADDRESS | {"planet": "Mars"}}, "address"),
    ],
)
def test_what_is_no_order_is_refused(alice: User, change: dict[str, Any], field: str) -> None:
    tree = product(3)

    answer = post(alice, body=order_body(tree) | change)

    assert answer.status_code == 400, answer.content
    assert answer.json()["details"][0]["field"].startswith(field)
    assert shelf(tree) == (3, 0)


@pytest.mark.parametrize("line", [{"price": 1}, {"amount": 1}, {"quantity": 0}, {"quantity": -1}, {"quantity": 1.5}])
def test_a_line_says_product_and_quantity_alone(alice: User, line: dict[str, Any]) -> None:
    tree = product(3)
    body = order_body(tree)
    body["items"][0] |= line

    assert post(alice, body=body).status_code == 400
    assert shelf(tree) == (3, 0)


def test_refusals_say_which_product_and_reserve_nothing(alice: User) -> None:
    tree, few, hidden = product(5), product(1), product(5, is_active=False)
    euro = product(5, currency="EUR")

    short = post(alice, body=order_body(tree, few, quantity=2))
    unknown = post(alice, body=order_body(tree, hidden))
    mixed = post(alice, body=order_body(tree, euro))
    twice = post(alice, body=order_body(tree, tree))

    assert (short.status_code, short.json()["error"]) == (409, "out_of_stock")
    assert [(one["product"], one["available"]) for one in short.json()["details"]] == [(str(few.pk), 1)]
    assert (unknown.status_code, unknown.json()["details"][0]["product"]) == (400, str(hidden.pk))
    assert (mixed.status_code, mixed.json()["error"]) == (400, "mixed_currencies")
    assert twice.status_code == 400
    assert [shelf(row)[1] for row in (tree, few, hidden, euro)] == [0] * 4
    assert not Order.objects.exists()


def test_it_is_paid_from_the_wallet_and_its_invoice_can_be_read(alice: User, settings: Settings) -> None:
    tree = product(3)
    order = post(alice, body=order_body(tree, quantity=2)).json()
    topped_up(alice, 600_000)

    paid = api(alice, **key()).post(
        "/api/v1/payments", {"item": f"order:{order['id']}", "gateway": "wallet"}, format="json"
    )

    assert paid.status_code == 201, paid.content
    assert (paid.json()["status"], paid.json()["amount"], paid.json()["title"]) == (
        "succeeded",
        500_000,
        f"2 \u00d7 {tree.name}",
    )
    shown = api(alice).get(f"/api/v1/orders/{order['id']}").json()
    assert (shown["status"], shown["payment"]) == ("confirmed", paid.json()["id"])
    assert shelf(tree) == (3, 2)
    assert wallet(alice, "primary").balance == 100_000
    assert list(Mail.objects.filter(user=alice, cause__contains="order").values_list("name", flat=True)) == [
        "order-confirmed"
    ]
    assert not Mail.objects.filter(name="payment-confirmation").exists()
    page = Client().get(shown["invoice_url"].removeprefix(settings.PUBLIC_URL))
    assert page.status_code == 200
    html = page.content.decode()
    assert all(text in html for text in ("01001000", "\u20a65,000.00", tree.name, paid.json()["id"], "Ana Souza"))
    assert Client().get("/invoices/forged").status_code == 404
    again = api(alice, **key()).post(
        "/api/v1/payments", {"item": f"order:{order['id']}", "gateway": "wallet"}, format="json"
    )
    assert (again.status_code, again.json()["error"]) == (400, "not_for_sale")
    books.check()


def test_an_order_has_its_own_currency(alice: User) -> None:
    order = placed(alice, product(currency="USD"))
    User.objects.filter(pk=alice.pk).update(currency="EUR")
    ask = {"item": order.item, "gateway": "wallet"}

    refused = api(alice, **key()).post("/api/v1/payments", ask | {"currency": "EUR"}, format="json")
    poor = api(alice, **key()).post("/api/v1/payments", ask, format="json")

    assert (refused.status_code, refused.json()["error"]) == (400, "currency_not_sold")
    assert (poor.status_code, poor.json()["details"][0]["unit"]) == (402, "USD")
    assert not Payment.objects.exists()


def test_to_others_an_order_does_not_exist(alice: User, bob: User) -> None:
    order = placed(alice)
    topped_up(bob, order.amount)

    seen = [
        api(bob).get(f"/api/v1/orders/{order.pk}").status_code,
        post(bob, f"/{order.pk}/cancel").status_code,
        api(bob).get("/api/v1/orders").json()["count"],
        api(bob, **key())
        .post("/api/v1/payments", {"item": order.item, "gateway": "wallet"}, format="json")
        .status_code,
    ]

    assert seen == [404, 404, 0, 400]
    assert fresh(order).state == "pending"
    assert not Payment.objects.exists()


def test_the_list_is_newest_first_filtered_and_takes_a_fixed_number_of_queries(
    alice: User, django_assert_num_queries: Callable[..., Any]
) -> None:
    old, new = confirmed(alice), placed(alice)
    client = api(alice)

    with django_assert_num_queries(4):  # who asks, count, orders, lines
        shown = client.get("/api/v1/orders").json()

    assert [row["id"] for row in shown["results"]] == [str(new.pk), str(old.pk)]
    assert [row["id"] for row in client.get("/api/v1/orders?status=confirmed").json()["results"]] == [str(old.pk)]
    assert client.get("/api/v1/orders?status=lost").status_code == 400


# --- Canceling and moving on ------------------------------------------------------------------------------------------


def test_a_pending_order_is_canceled_once(alice: User) -> None:
    tree = product(3)
    order = placed(alice, tree, quantity=2)

    answers = [post(alice, f"/{order.pk}/cancel") for _ in range(2)]

    assert [(one.status_code, one.json()["status"]) for one in answers] == [(200, "canceled")] * 2
    assert answers[0].json()["canceled_because"] == "buyer"
    assert shelf(tree) == (3, 0)
    assert Mail.objects.filter(name="order-canceled").count() == 1
    assert AuditLog.objects.filter(action="order.canceled").count() == 1


def test_a_paid_order_is_canceled_refunded_and_restocked(alice: User) -> None:
    tree = product(3)
    order = confirmed(alice, tree, quantity=2)
    assert wallet(alice, "primary").balance == 0

    answer = post(alice, f"/{order.pk}/cancel")
    post(alice, f"/{order.pk}/cancel")
    refunds.send_due()

    assert answer.json()["status"] == "canceled"
    assert (shelf(tree), wallet(alice, "primary").balance) == ((3, 0), 500_000)
    payment = Payment.objects.get()
    assert (payment.state, payment.refunds.get().origin) == ("refunded", "order")
    told = Mail.objects.get(name="order-canceled").context
    assert told["refunded"] == "\u20a65,000.00"
    assert Mail.objects.get(name="refund").context["consequence"] == ""
    books.check()


def test_only_who_ships_orders_lists_everybodys(alice: User, bob: User, ops: User, finance: User) -> None:
    first, second, own = placed(alice), placed(bob), placed(ops)

    def listed(user: User, **query: str) -> Any:
        return api(user).get("/api/v1/orders", query)

    assert [row["id"] for row in listed(ops, role="staff").json()["results"]] == [
        str(order.pk) for order in (own, second, first)
    ]
    assert listed(ops, role="staff", status="shipped").json()["count"] == 0
    assert [row["id"] for row in listed(ops, role="buyer").json()["results"]] == [str(own.pk)]
    assert listed(ops).json()["count"] == listed(alice, role="buyer").json()["count"] == 1
    assert [listed(user, role="staff").status_code for user in (alice, finance)] == [403, 403]
    assert listed(alice, role="owner").status_code == 400
    assert post(ops, f"/{first.pk}/cancel?role=staff").status_code == 404  # as staff they cancel by the status
    books.check()


def test_shipped_and_delivered_by_staff(alice: User, ops: User, support: User) -> None:
    tree = product(3)
    order = confirmed(alice, tree, quantity=2)

    def put(actor: User, **body: str) -> Any:
        return api(actor).put(f"/api/v1/orders/{order.pk}/status", body, format="json")

    early = put(ops, status="delivered")
    sent = [put(ops, status="shipped", tracking="BR123") for _ in range(2)]
    late = post(alice, f"/{order.pk}/cancel")
    by_staff = put(support, status="canceled")
    arrived = put(support, status="delivered")
    back = [put(ops, status=status).status_code for status in ("shipped", "confirmed", "pending", "canceled")]

    assert (early.status_code, early.json()["error"]) == (409, "order_status_refused")
    assert [(one.status_code, one.json()["status"], one.json()["tracking"]) for one in sent] == [
        (200, "shipped", "BR123")
    ] * 2
    assert (late.status_code, late.json()["error"], late.json()["charged"]) == (409, "order_shipped", "settled")
    assert by_staff.status_code == 409
    assert arrived.json()["status"] == "delivered"
    assert back == [409] * 4
    assert shelf(tree) == (1, 0)
    assert Mail.objects.filter(name="order-shipped").count() == 1
    facts = AuditLog.objects.filter(entity_id=str(order.pk)).order_by("pk")
    assert list(facts.values_list("action", "actor_id", "on_behalf_of_id"))[-2:] == [
        ("order.shipped", ops.pk, alice.pk),
        ("order.delivered", support.pk, alice.pk),
    ]
    books.check()


def test_staff_cannot_say_that_it_was_paid_nor_serve_themselves(alice: User, ops: User, support: User) -> None:
    order, own = placed(alice), placed(ops)

    answers = [
        api(ops).put(f"/api/v1/orders/{order.pk}/status", {"status": status}, format="json").json()["error"]
        for status in ("confirmed", "shipped", "delivered")
    ]
    themselves = api(ops).put(f"/api/v1/orders/{own.pk}/status", {"status": "canceled"}, format="json")
    canceled = api(support).put(
        f"/api/v1/orders/{order.pk}/status", {"status": "canceled", "reason": "Broken."}, format="json"
    )

    assert answers == ["order_status_refused"] * 3
    assert themselves.status_code == 403
    assert (canceled.status_code, canceled.json()["canceled_because"]) == (200, "staff")
    row = AuditLog.objects.get(action="order.canceled")
    assert (row.metadata["reason"], row.actor_id, row.on_behalf_of_id) == ("Broken.", support.pk, alice.pk)
    books.check()

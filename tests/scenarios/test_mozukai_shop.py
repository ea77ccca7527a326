"""S5's shop over HTTP alone: a shelf, buyers for the last pieces, payment at a gateway, parcels, money back."""

from __future__ import annotations

import re
import secrets
from typing import Any

import pytest
import requests

from audit.models import AuditLog
from store.models import Order
from tests import books
from tests.people import PASSWORD, make_staff
from tests.scenarios.client import Customer
from tests.scenarios.stack import WAKES, Stack, until
from tests.store.material import ADDRESS, run_out

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(300)]
shop = pytest.mark.parametrize(
    "stack",
    [
        {name: secrets.token_hex(20) for name in ("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET")}
        | {"STRIPE_PUBLISHABLE_KEY": "pk_test_example", "MFA_REQUIRED": "false"}
        | {"WAKE_EVERY_S": f"{WAKES},store.give_up_orders=0.5,billing.send_refunds=0.5"}
    ],
    indirect=True,
    ids=["shop"],
)
TREE = {
    "name": "Juniper in a shallow pot",
    "category": "bonsai",
    "price": {"amount": 8_900, "currency": "EUR"},
    "stock_quantity": 3,
}


class Buyer(Customer):
    def orders(self, product: str, quantity: int) -> dict[str, Any]:
        body = {"items": [{"product": product, "quantity": quantity}], "address": ADDRESS}
        order: dict[str, Any] = self.ok("POST", "orders", key=secrets.token_hex(8), json=body)
        return order

    def begins_to_pay(self, order: dict[str, Any]) -> dict[str, Any]:
        body = {"item": f"order:{order['id']}", "gateway": "stripe"}
        payment: dict[str, Any] = self.ok("POST", "payments", key=secrets.token_hex(8), json=body)
        return payment

    def pays(self, order: dict[str, Any]) -> dict[str, Any]:
        payment = self.begins_to_pay(order)
        assert (payment["amount"], payment["currency"]) == (order["total"]["amount"], "EUR")
        where = f"{self.stack.sandbox}/stripe/checkout/{payment['client']['payment_intent']}/pay"
        assert requests.post(where, headers={"Accept": "application/json"}, timeout=20).ok
        return self.becomes(order, "confirmed")

    def becomes(self, order: dict[str, Any], status: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = self.ok("GET", f"orders/{order['id']}")
            return found if found["status"] == status else None

        return until(look, f"the order is {status}", within_s=60)

    def gets(self, subject: str) -> dict[str, Any]:
        return until(lambda: self.mails(subject), f"a mail about {subject}", within_s=60)[0]


@shop
def test_the_last_three_trees(stack: Stack) -> None:
    make_staff("ops")
    ops = Customer(stack, "ops@example.test")
    ops.token = ops.ok("POST", "auth/login", json={"email": ops.email, "password": PASSWORD})["access"]
    tree = ops.ok("POST", "products", json=TREE)["id"]
    alice, bob = (Buyer(stack, f"{name}@example.com") for name in ("ana", "bruno"))
    for person in (alice, bob):
        person.join()
    listed = requests.get(f"{stack.api}/products", params={"in_stock": "true"}, timeout=10)
    assert [row["available"] for row in listed.json()["results"]] == [3]
    assert alice.send("POST", "products", json=TREE).status_code == 403

    # Two are bought; of the last one somebody wants two, takes one, and never pays.
    bought = alice.pays(alice.orders(tree, 2))
    body = {"items": [{"product": tree, "quantity": 2}], "address": ADDRESS}
    refused = bob.send("POST", "orders", key="two", json=body)
    assert (refused.status_code, refused.json()["error"]) == (409, "out_of_stock")
    assert (refused.json()["details"][0]["available"], refused.json()["charged"]) == (1, "none")
    reserved = bob.orders(tree, 1)
    opened = bob.begins_to_pay(reserved)
    assert alice.send("POST", "orders", key="more", json=body).status_code == 409
    run_out(Order.objects.get(pk=reserved["id"]))
    assert bob.becomes(reserved, "canceled")["canceled_because"] == "unpaid"
    assert bob.ok("GET", f"payments/{opened['id']}")["status"] == "canceled"
    assert "not paid in time" in " ".join(bob.gets("order is canceled")["text"].split())
    fresh = requests.get(f"{stack.api}/products", headers={"If-None-Match": listed.headers["ETag"]}, timeout=10)
    assert (fresh.status_code, fresh.json()["results"][0]["available"]) == (200, 1)

    # The one that is free again is bought and given back, with all of its money.
    second = alice.pays(alice.orders(tree, 1))
    assert alice.ok("POST", f"orders/{second['id']}/cancel")["status"] == "canceled"
    until(lambda: alice.ok("GET", f"payments/{second['payment']}")["status"] == "refunded", "it is refunded")
    assert "\u20ac89.00 go back" in " ".join(alice.gets("order is canceled")["text"].split())

    # The parcel, and its paper.
    told = alice.gets("order is confirmed")
    invoice = re.search(rf"{stack.url}/invoices/\S+", told["text"])
    assert invoice, told["text"]
    page = requests.get(invoice[0], timeout=10)
    assert page.status_code == 200
    assert ADDRESS["postcode"] in page.text
    moved = {"status": "shipped", "tracking": "BR123456789"}
    ops.ok("PUT", f"orders/{bought['id']}/status", json=moved)
    assert "BR123456789" in alice.gets("on its way")["text"]
    late = alice.send("POST", f"orders/{bought['id']}/cancel")
    assert (late.status_code, late.json()["error"]) == (409, "order_shipped")
    ops.ok("PUT", f"orders/{bought['id']}/status", json={"status": "delivered"})
    assert alice.becomes(bought, "delivered")["tracking"] == "BR123456789"

    left = requests.get(f"{stack.api}/products/{tree}", timeout=10).json()
    assert (left["stock_quantity"], left["available"]) == (1, 1)
    trail = AuditLog.objects.filter(entity_type="order", entity_id=bought["id"]).order_by("id")
    assert list(trail.values_list("action", flat=True)) == [
        "order.placed",
        "order.confirmed",
        "order.shipped",
        "order.delivered",
    ]
    books.check()

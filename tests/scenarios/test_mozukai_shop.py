"""S5's shop over HTTP alone: a model from photos, a shelf, buyers for the last pieces, payment, parcels, money back."""

from __future__ import annotations

import io
import re
import secrets
import zipfile
from typing import Any

import pytest
import requests

from accounts.models import User
from audit.models import AuditLog
from generation.providers import photogrammetry
from store.models import Order
from tests import books
from tests.people import PASSWORD, make_staff
from tests.scenarios.client import Customer, portrait
from tests.scenarios.stack import WAKES, Stack, until
from tests.skips import LACKS_PHOTOGRAMMETRY
from tests.store.material import ADDRESS, run_out

pytestmark = pytest.mark.scenario
SETTINGS = {name: secrets.token_hex(20) for name in ("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET")} | {
    "STRIPE_PUBLISHABLE_KEY": "pk_test_example",
    "MFA_REQUIRED": "false",
    "WAKE_EVERY_S": f"{WAKES},store.give_up_orders=0.5,billing.send_refunds=0.5",
    "PHOTOGRAMMETRY_ENABLED": "false",
}
MODELS = SETTINGS | {"PHOTOGRAMMETRY_ENABLED": "true", "PHOTOGRAMMETRY_FREE_BYTES": "0"}
shop = pytest.mark.parametrize("stack", [SETTINGS], indirect=True, ids=["shop"])
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
        assert requests.post(where, headers={"Accept": "application/json"}, timeout=60).ok
        return self.becomes(order, "confirmed")

    def becomes(self, order: dict[str, Any], status: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = self.ok("GET", f"orders/{order['id']}")
            return found if found["status"] == status else None

        return until(look, f"the order is {status}")

    def gets(self, subject: str) -> dict[str, Any]:
        return until(lambda: self.mails(subject), f"a mail about {subject}")[0]


class Keeper(Customer):
    """Of the shop."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(stack, "ops@example.test")
        if not User.objects.filter(email=self.email).exists():
            make_staff("ops")
        self.token = self.ok("POST", "auth/login", json={"email": self.email, "password": PASSWORD})["access"]

    def model(self, pictures: list[bytes]) -> requests.Response:
        """Bring pictures of a thing, and order its model."""
        purpose = {"purpose": "model3d"}
        photos = [self.ok("POST", "photos", files=picture, data=purpose)["id"] for picture in pictures]
        return self.send("POST", "models", key=secrets.token_hex(8), json={"photos": photos})

    def results(self, job: dict[str, Any]) -> dict[str, bytes]:
        """What the job's zip holds, and the GLB that stands beside it."""
        assert (job["status"], job["charged"]) == ("succeeded", "settled"), job
        packed, glb = (requests.get(output["url"], timeout=60).content for output in job["outputs"][:2])
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            found = {name: archive.read(name) for name in archive.namelist()}
        assert found["model.glb"] == glb
        return found


@shop
def test_without_what_models_take_the_shop_is_told_so_and_sells_all_the_same(stack: Stack) -> None:
    ops = Keeper(stack)
    ops.buy("credits:50")
    before = ops.balance()

    refused = ops.model([portrait(seed, (300, 400)) for seed in range(8)])

    assert (refused.status_code, refused.json()["error"]) == (503, "operation_unavailable")
    assert (refused.json()["charged"], ops.balance()) == ("none", before)
    assert sell(stack, ops, {**TREE, "stock_quantity": 1})["model_url"] is None


@pytest.mark.deep
@pytest.mark.skipif(bool(photogrammetry.missing()), reason=LACKS_PHOTOGRAMMETRY)
@pytest.mark.timeout(1800)  # half a minute of arithmetic, on a machine that may do much else
@pytest.mark.parametrize("stack", [MODELS], indirect=True, ids=["models"])
def test_a_tree_is_photographed_modelled_put_on_the_shelf_and_sold(stack: Stack) -> None:
    from tests.generation import statue

    ops = Keeper(stack)
    ops.buy("credits:50")
    before = ops.balance()["available"]
    pictures = statue.photographs(16, width=480)

    few, ordered = ops.model(pictures[:7]), ops.model(pictures)

    assert (few.status_code, few.json()["charged"]) == (400, "none"), few.text
    assert ordered.status_code == 202, ordered.text
    job = ops.ended(ordered.json()["id"], within_s=1500)
    assert {"model.glb", "model.obj", "model.ply"} <= set(ops.results(job))
    assert ops.balance()["available"] == before - 40
    sold = sell(stack, ops, {**TREE, "stock_quantity": 1, "model": job["id"]})
    assert requests.get(sold["model_url"], timeout=60).content[:4] == b"glTF"


def sell(stack: Stack, ops: Keeper, product: dict[str, Any]) -> dict[str, Any]:
    """Put the last one of something on the shelf, and let somebody buy it. What the shelf shows then."""
    tree = ops.ok("POST", "products", json=product)["id"]
    buyer = Buyer(stack, f"{secrets.token_hex(6)}@example.com")
    buyer.join()
    bought = buyer.pays(buyer.orders(tree, 1))
    assert buyer.becomes(bought, "confirmed")["total"] == {"amount": 8_900, "currency": "EUR"}
    shown: dict[str, Any] = requests.get(f"{stack.api}/products/{tree}", timeout=60).json()
    assert shown["available"] == 0
    books.check()
    return shown


@shop
def test_the_last_three_trees(stack: Stack) -> None:
    ops = Keeper(stack)
    tree = ops.ok("POST", "products", json=TREE)["id"]
    alice, bob = (Buyer(stack, f"{name}@example.com") for name in ("ana", "bruno"))
    for person in (alice, bob):
        person.join()
    listed = requests.get(f"{stack.api}/products", params={"in_stock": "true"}, timeout=60)
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
    fresh = requests.get(f"{stack.api}/products", headers={"If-None-Match": listed.headers["ETag"]}, timeout=60)
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
    page = requests.get(invoice[0], timeout=60)
    assert page.status_code == 200
    assert ADDRESS["postcode"] in page.text
    moved = {"status": "shipped", "tracking": "BR123456789"}
    ops.ok("PUT", f"orders/{bought['id']}/status", json=moved)
    assert "BR123456789" in alice.gets("on its way")["text"]
    late = alice.send("POST", f"orders/{bought['id']}/cancel")
    assert (late.status_code, late.json()["error"]) == (409, "order_shipped")
    ops.ok("PUT", f"orders/{bought['id']}/status", json={"status": "delivered"})
    assert alice.becomes(bought, "delivered")["tracking"] == "BR123456789"

    left = requests.get(f"{stack.api}/products/{tree}", timeout=60).json()
    assert (left["stock_quantity"], left["available"]) == (1, 1)
    trail = AuditLog.objects.filter(entity_type="order", entity_id=bought["id"]).order_by("id")
    assert list(trail.values_list("action", flat=True)) == [
        "order.placed",
        "order.confirmed",
        "order.shipped",
        "order.delivered",
    ]
    books.check()

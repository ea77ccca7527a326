"""Everything at once, and money early and late: each wish is one effect, each payment is credited once."""

from __future__ import annotations

from collections import Counter

import pytest
import requests

from tests.scenarios.client import Customer, portrait
from tests.scenarios.shop import Shop, at_once, key, order, refused, spent
from tests.scenarios.stack import until

pytestmark = [pytest.mark.scenario, pytest.mark.usefixtures("ends_well", "balanced")]

MANY = 12


# --- At once ----------------------------------------------------------------------------------------------------------


def test_one_wish_asked_many_times_at_once_is_one_payment(shop: Shop, alice: Customer) -> None:
    wish, body = key(), {"item": "credits:100", "gateway": "razorpay"}
    before = alice.balance()

    answers = at_once(lambda _: alice.send("POST", "payments", key=wish, json=body), MANY)
    others = at_once(lambda _: alice.send("POST", "payments", key=key(), json=body), MANY)

    assert {answer.status_code for answer in [*answers, *others]} <= {200, 201, 409}
    for answer in (answer for answer in answers if answer.status_code == 409):
        refused(answer, 409, "idempotency_in_progress", charged="unknown")
        assert answer.headers["Retry-After"]
    (payment,) = {answer.json()["id"] for answer in [*answers, *others] if answer.ok}
    replayed = alice.send("POST", "payments", key=wish, json=body)
    assert (replayed.json()["id"], replayed.headers["Idempotent-Replayed"]) == (payment, "true")
    refused(alice.send("POST", "payments", key=wish, json=body | {"item": "credits:11"}), 409, "idempotency_mismatch")

    proof = alice.pay(replayed.json())
    looks = at_once(lambda n: alice.send("POST", f"payments/{payment}/verify", json=proof if n % 2 else {}), MANY)
    assert {(look.status_code, look.json()["status"]) for look in looks} == {(200, "succeeded")}
    assert spent(alice.balance(), before) == 100


def test_the_same_webhook_fifty_times_at_once_grants_once(shop: Shop, alice: Customer) -> None:
    before = alice.balance()
    payment = order(alice, "credits:60")
    alice.pay(payment)
    alice.settled(payment["id"])
    sent = shop.control("GET", "deliveries?provider=razorpay&event=payment.captured")
    delivery = next(one for one in sent if payment["client"]["order_id"] in str(one["body"]))

    shop.control("POST", f"deliveries/{delivery['id']}/resend", times=50)

    # Razorpay repeats what it thinks was not heard: on a busy machine there may be more than these.
    received = "SELECT max(times_received) >= 51, count(*) FROM inbox_delivery WHERE times_received > 1"
    until(lambda: shop.rows(received) == [(True, 1)], "all fifty have come in")
    until(lambda: not shop.rows("SELECT 1 FROM inbox_delivery WHERE state IN ('received', 'failed')"), "all handled")
    assert spent(alice.balance(), before) == 60


def test_twenty_headshots_on_a_hundred_credits_are_two(shop: Shop) -> None:
    person = shop.customer()
    person.buy("credits:95")
    picture = person.upload(portrait(3))
    body = {"photo": picture, "consent": True}

    answers = at_once(lambda _: person.ask("POST", "headshots", key=key(), json=body), 20)

    assert Counter(answer.status_code for answer in answers) == {202: 2, 402: 18}
    assert person.balance() | {"balance": 0} == {"balance": 0, "held": 100, "frozen": 0, "available": 0, "debt": 0}
    for answer in answers:
        if answer.status_code == 402:
            (detail,) = refused(answer, 402, "insufficient_credits")["details"]
            assert (detail["required"], detail["available"]) == (50, 0)
        else:
            assert person.ended(answer.json()["id"])["charged"] == "settled"
    assert person.balance()["balance"] == 0


def test_changing_ones_mind_many_times_at_once_counts_once(shop: Shop, alice: Customer, photo: str) -> None:
    before, wish = alice.balance(), key()
    body = {"photo": photo, "consent": True, "style_prompt": "sandbox:slow"}
    shop.control("POST", "settings", slow_s=600)  # it must not end before everybody has changed their mind

    made = at_once(lambda _: alice.send("POST", "headshots", key=wish, json=body), MANY)
    (job,) = {answer.json()["id"] for answer in made if answer.ok}
    ends = at_once(
        lambda n: (
            alice.send("POST", f"generations/{job}/cancel") if n % 2 else alice.send("DELETE", f"generations/{job}")
        ),
        MANY,
    )
    assert {answer.status_code for answer in ends} <= {200, 204, 404}
    assert alice.balance() == before

    failed = alice.ended(alice.headshot(photo, style_prompt="sandbox:fail")["id"])
    again = at_once(lambda _: alice.send("POST", f"generations/{failed['id']}/retry", key=key()), MANY)
    assert Counter(answer.status_code for answer in again) == {202: 1, 409: MANY - 1}
    assert alice.ended(failed["id"])["charged"] == "none"
    assert alice.balance() == before


# --- Money early and late ---------------------------------------------------------------------------------------------


def test_money_that_comes_after_a_cancel_is_settled(shop: Shop, alice: Customer) -> None:
    """With every webhook lost, and nobody telling us: the poller finds it."""
    shop.control("POST", "webhooks", deliver=False)
    before, payment = alice.balance(), order(alice, "credits:70")

    assert alice.ok("POST", f"payments/{payment['id']}/cancel")["status"] == "canceled"
    assert alice.ok("POST", f"payments/{payment['id']}/cancel")["status"] == "canceled"
    alice.pay(payment)

    def is_found() -> bool:
        soon = "UPDATE billing_payment SET next_at = statement_timestamp() WHERE id = %s AND next_at IS NOT NULL"
        shop.rows(soon, payment["id"])  # at every look: a poller that saw no money yet puts it off again
        return bool(alice.ok("GET", f"payments/{payment['id']}")["status"] == "succeeded")

    until(is_found, "the late money is found")
    assert spent(alice.balance(), before) == 70
    refused(alice.send("POST", f"payments/{payment['id']}/cancel"), 409, "payment_settled", charged="settled")


@pytest.mark.parametrize(
    ("credits", "refund", "status", "kept"), [(50, 25_000, "refunded", 0), (60, 10_000, "partially_refunded", 40)]
)
def test_money_refunded_before_we_settle_buys_only_what_is_left(
    shop: Shop, alice: Customer, credits: int, refund: int, status: str, kept: int
) -> None:
    shop.control("POST", "webhooks", deliver=False)
    before, payment = alice.balance(), order(alice, f"credits:{credits}")
    proof = alice.pay(payment)
    settings = shop.stack.environment
    gone = requests.post(
        f"{shop.stack.sandbox}/razorpay/v1/payments/{proof['razorpay_payment_id']}/refund",
        json={"amount": refund},
        auth=(settings["RAZORPAY_KEY_ID"], settings["RAZORPAY_KEY_SECRET"]),
        timeout=60,
    )
    assert gone.ok, gone.text

    seen = alice.ok("POST", f"payments/{payment['id']}/verify", json=proof)

    assert (seen["status"], seen["received"], seen["refunded"]) == (status, credits * 500, refund)
    assert spent(alice.balance(), before) == kept


def test_a_gateway_in_trouble_costs_nobody_anything(shop: Shop, alice: Customer) -> None:
    """Each trouble meets the start of a payment, then its look; the same key resumes what it began."""
    shop.control("POST", "webhooks", deliver=False)
    before, bought = alice.balance(), 0
    troubles = {  # fault, when: status, code and what we know of the money; a start that never left costs nothing
        ("500", "after"): (502, "bad_gateway", "unknown"),
        ("wrongtype", "before"): (502, "bad_gateway", "unknown"),
        ("truncated", "after"): (502, "bad_gateway", "unknown"),
        ("huge", "before"): (502, "bad_gateway", "unknown"),
        ("refuse", "after"): (502, "bad_gateway", "unknown"),
        ("429", "before"): (503, "gateway_unavailable", "none"),
        ("401", "before"): (503, "gateway_unavailable", "none"),
    }

    for number, ((mode, when), (status, code, charged)) in enumerate(troubles.items()):
        wish, body = key(), {"item": f"credits:{200 + number}", "gateway": "razorpay"}
        shop.fault("razorpay", mode, when=when, path="/v1/orders", count=None)
        refused(alice.send("POST", "payments", key=wish, json=body), status, code, charged)
        shop.control("DELETE", "faults")
        payment = alice.send("POST", "payments", key=wish, json=body).json()
        assert payment["status"] == "pending"
        proof = alice.pay(payment)

        shop.fault("razorpay", mode, when=when, path="/v1/", count=None)
        refused(alice.send("POST", f"payments/{payment['id']}/verify", json=proof), status, code, "unknown")
        shop.control("DELETE", "faults")
        assert alice.ok("POST", f"payments/{payment['id']}/verify", json=proof)["status"] == "succeeded"
        bought += 200 + number
    assert spent(alice.balance(), before) == bought
    rows = "SELECT count(*) FROM billing_payment WHERE credits BETWEEN 200 AND 299"
    assert shop.rows(rows) == [(len(troubles),)]

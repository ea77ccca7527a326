"""Faults of the world around, and everything at once: each job and payment still ends right, once, and says so."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
import requests

from tests.scenarios.client import PASSWORD, Customer, portrait
from tests.scenarios.shop import Shop, at_once, key, refused
from tests.scenarios.stack import until

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(300)]

MANY = 12


@pytest.fixture(scope="module")
def alice(shop: Shop) -> Customer:
    """A customer with credits to spare."""
    person = shop.customer("alice@example.com")
    person.buy("package:ENTERPRISE")
    return person


@pytest.fixture(scope="module")
def photo(alice: Customer) -> str:
    return alice.upload(portrait())


@pytest.fixture(autouse=True)
def ends_well(shop: Shop, alice: Customer) -> Iterator[None]:
    """After every test: the world is sound again, all that was begun has ended, no answer was a 500."""
    yield
    shop.control("DELETE", "faults")
    shop.control("POST", "webhooks", deliver=True)
    open_holds = "SELECT count(*) FROM billing_hold WHERE state = 'open'"
    until(lambda: shop.rows(open_holds) == [(0,)], "nothing is held", within_s=60)
    assert "unhandled" not in shop.stack.log("web"), shop.stack.log("web")[-3000:]


@pytest.fixture(autouse=True, scope="module")
def balanced(shop: Shop) -> Iterator[None]:
    """After all of it, the books balance."""
    yield
    shop.check_books()


def order(person: Customer, item: str) -> dict[str, Any]:
    payment: dict[str, Any] = person.ok("POST", "payments", key=key(), json={"item": item, "gateway": "razorpay"})
    return payment


def attempts(shop: Shop, job: dict[str, Any]) -> list[str]:
    """How each submission of a job came out."""
    rows = shop.rows("SELECT outcome FROM generation_attempt WHERE generation_id = %s ORDER BY n", job["id"])
    return [outcome for (outcome,) in rows]


def spent(before: dict[str, int], after: dict[str, int]) -> int:
    return before["balance"] - after["balance"]


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

    received = "SELECT sum(times_received)::int, count(*) FROM inbox_delivery WHERE times_received > 1"
    until(lambda: shop.rows(received) == [(51, 1)], "all fifty have come in")
    until(lambda: not shop.rows("SELECT 1 FROM inbox_delivery WHERE state IN ('received', 'failed')"), "all handled")
    assert spent(alice.balance(), before) == 60


def test_twenty_headshots_on_a_hundred_credits_are_two(shop: Shop) -> None:
    person = shop.customer()
    person.buy("credits:95")
    picture = person.upload(portrait(3))
    body = {"photo": picture, "consent": True}

    answers = at_once(lambda _: person.send("POST", "headshots", key=key(), json=body), 20)

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
    shop.rows(
        "UPDATE billing_payment SET next_at = statement_timestamp() WHERE id = %s AND next_at IS NOT NULL",
        payment["id"],
    )

    until(lambda: alice.ok("GET", f"payments/{payment['id']}")["status"] == "succeeded", "the late money is found")
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
        timeout=10,
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


# --- Providers --------------------------------------------------------------------------------------------------------


def test_a_provider_in_any_trouble_ends_every_job_settled_or_released(shop: Shop, alice: Customer, photo: str) -> None:
    before = alice.balance()
    ends = {
        "slow": "succeeded",
        "lost": "succeeded",
        "duplicate": "succeeded",
        "429": "succeeded",
        "500": "succeeded",
        "hang": "succeeded",
        "fail": "provider_failed",
        "moderated": "moderated",
        "corrupt": "bad_output",
        "wrongtype": "bad_output",
        "huge": "output_too_large",
    }
    worker = psutil.Process(shop.stack.processes["worker"].pid)

    jobs = {word: alice.headshot(photo, style_prompt=f"sandbox:{word}") for word in ends}
    assert alice.balance()["held"] == 50 * len(ends)

    most = 0
    for word, job in jobs.items():
        ended = alice.ended(job["id"])
        most = max(most, worker.memory_info().rss)
        if ends[word] == "succeeded":
            assert (ended["status"], ended["charged"], ended["cost"]) == ("succeeded", "settled", 50), word
            assert alice.picture(ended).width >= 300
        else:
            assert (ended["status"], ended["charged"], ended["cost"]) == ("failed", "none", 0), word
            assert ended["error"]["code"] == ends[word]
            assert not ended["outputs"]
    good = sum(end == "succeeded" for end in ends.values())
    assert spent(before, alice.balance()) == 50 * good
    assert most < 250 << 20
    assert sum(path.stat().st_size for path in shop.files("media")) < 60 << 20  # of two gigabytes, no trace stays


@pytest.mark.parametrize(
    ("mode", "where"),
    [
        ("hang", {"path": "/v1/ai-headshot", "when": "before"}),
        ("hang", {"path": "/v1/ai-headshot", "when": "after"}),
        ("truncated", {"path": "/v1/ai-headshot", "when": "after"}),
        ("wrongtype", {"path": "/v1/ai-headshot"}),
        ("refuse", {"path": "/uploads/"}),
        ("500", {"path": "/v1/files/upload-urls"}),
        ("huge", {"path": "/v1/image-projects", "count": 2}),
        ("404", {"path": "/v1/image-projects"}),
        ("truncated", {"path": "/downloads/"}),
        ("wrongtype", {"path": "/downloads/"}),
    ],
)
def test_a_trouble_that_passes_is_waited_out(
    shop: Shop, alice: Customer, photo: str, mode: str, where: dict[str, Any]
) -> None:
    before = alice.balance()
    shop.fault("magic-hour", mode, **where)

    job = alice.ended(alice.headshot(photo)["id"])

    assert (job["status"], job["charged"]) == ("succeeded", "settled"), (job, attempts(shop, job))
    assert spent(before, alice.balance()) == 50
    assert attempts(shop, job)[-1] == "succeeded"
    assert len(attempts(shop, job)) <= 2


def test_a_world_that_refuses_connections_is_waited_for(shop: Shop, alice: Customer, photo: str) -> None:
    before, wish, body = alice.balance(), key(), {"item": "credits:31", "gateway": "razorpay"}
    shop.stack.kill("sandbox")

    refused(alice.send("POST", "payments", key=wish, json=body), 503, "gateway_unavailable")
    job = alice.send("POST", "headshots", key=key(), json={"photo": photo, "consent": True}).json()
    newcomer = Customer(shop.stack, "newcomer@example.com")
    given = {"email": newcomer.email, "password": PASSWORD}
    assert newcomer.send("POST", "auth/register", json=given).status_code == 201
    until(lambda: job["id"] in shop.stack.log("worker"), "the worker is refused")

    assert alice.balance()["held"] == 50
    shop.stack.start("sandbox")
    assert alice.ended(job["id"])["charged"] == "settled"
    assert attempts(shop, job) == ["succeeded"]
    assert alice.send("POST", "payments", key=wish, json=body).json()["status"] == "pending"
    shop.rows("UPDATE notifications_mail SET next_at = statement_timestamp() WHERE state = 'queued'")
    until(lambda: newcomer.mails("confirm|verify"), "the mail that waited")
    assert spent(before, alice.balance()) == 50


# --- Our own servers --------------------------------------------------------------------------------------------------


def test_valkey_flushed_in_the_middle_loses_nothing(shop: Shop, alice: Customer, photo: str) -> None:
    before = alice.balance()
    job = alice.headshot(photo, style_prompt="sandbox:slow")
    until(lambda: alice.ok("GET", f"generations/{job['id']}")["status"] == "running", "the job runs")

    shop.flush_valkey()
    other = alice.headshot(photo)
    shop.flush_valkey()

    assert [alice.ended(one["id"])["charged"] for one in (job, other)] == ["settled", "settled"]
    assert spent(before, alice.balance()) == 100


def test_valkey_stopped_in_the_middle_loses_nothing(shop: Shop, alice: Customer, photo: str) -> None:
    """What commits answers as if nothing were wrong; what must be counted first says 503; no answer is a 500."""
    before = alice.balance()
    payment, spare = order(alice, "credits:41"), alice.upload(portrait(5))
    running = alice.headshot(photo, style_prompt="sandbox:slow")
    other = alice.headshot(photo, style_prompt="sandbox:slow")
    until(lambda: alice.ok("GET", f"generations/{running['id']}")["status"] == "running", "the job runs")
    shop.crash_valkey()
    try:
        for path, body in (
            ("headshots", {"photo": photo, "consent": True}),
            ("payments", {"item": "credits:42", "gateway": "razorpay"}),
            ("auth/login", {"email": alice.email, "password": PASSWORD}),
        ):
            answer = alice.send("POST", path, key=key(), json=body)
            refused(answer, 503, "unavailable")
            assert answer.headers["Retry-After"]
        proof = alice.pay(payment)
        assert alice.send("POST", f"payments/{payment['id']}/verify", json=proof).json()["status"] == "succeeded"
        assert alice.send("POST", f"generations/{other['id']}/cancel").json()["status"] == "canceled"
        assert alice.send("DELETE", f"photos/{spare}").status_code == 204
        assert alice.send("PATCH", "users/me", json={"bio": "here"}).status_code == 200
        assert alice.send("GET", f"generations/{running['id']}").json()["charged"] == "held"
        assert requests.get(f"{shop.stack.url}/health", timeout=10).status_code == 503
    finally:
        shop.start_valkey()

    assert alice.ended(running["id"])["charged"] == "settled"
    assert spent(before, alice.balance()) == 50 - 41
    assert alice.ended(alice.headshot(photo)["id"])["charged"] == "settled"


def test_postgres_restarted_in_the_middle_loses_nothing(shop: Shop, alice: Customer, photo: str) -> None:
    """No answer is a 500: 503 says that the same request with the same key is worth another try."""
    before, wishes = alice.balance(), [key() for _ in range(4)]
    running = alice.headshot(photo, style_prompt="sandbox:slow")
    body = {"photo": photo, "consent": True}
    heard: list[requests.Response] = []
    over = threading.Event()

    def insist(wish: str) -> None:
        """Ask until accepted, and then again and again: the same answer, for one headshot."""
        while not over.is_set():
            heard.append(alice.send("POST", "headshots", key=wish, json=body))
            time.sleep(0.02)

    askers = [threading.Thread(target=insist, args=[wish]) for wish in wishes]
    for asker in askers:
        asker.start()
    for _ in range(2):
        shop.crash_postgres()
        until(lambda: heard and heard[-1].status_code == 503, "the database is missed")
        shop.start_postgres()
        until(lambda: heard[-1].ok, "the shop sells again")
    until(lambda: len({answer.json()["id"] for answer in heard if answer.ok}) == len(wishes), "all are accepted")
    over.set()
    for asker in askers:
        asker.join()

    assert {answer.status_code for answer in heard} <= {202, 409, 503}
    for answer in (answer for answer in heard if answer.status_code == 503):
        refused(answer, 503, "unavailable", charged=answer.json()["charged"])
        assert answer.json()["charged"] in ("none", "unknown")
        assert answer.headers["Retry-After"]
    jobs = {answer.json()["id"] for answer in heard if answer.ok}
    assert [alice.ended(job)["charged"] for job in (*jobs, running["id"])] == ["settled"] * 5
    assert spent(before, alice.balance()) == 250

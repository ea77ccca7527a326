"""Faults of the world around: each job and payment still ends right, once, and says so."""

from __future__ import annotations

import threading
import time
from typing import Any

import psutil
import pytest
import requests

from tests.scenarios.client import PASSWORD, Customer, portrait
from tests.scenarios.shop import Shop, key, order, refused, spent
from tests.scenarios.stack import until

pytestmark = [pytest.mark.scenario, pytest.mark.usefixtures("ends_well", "balanced")]


def attempts(shop: Shop, job: dict[str, Any]) -> list[str]:
    """How each submission of a job came out."""
    rows = shop.rows("SELECT outcome FROM generation_attempt WHERE generation_id = %s ORDER BY n", job["id"])
    return [outcome for (outcome,) in rows]


def holds(shop: Shop, jobs: dict[str, dict[str, Any]]) -> dict[str, tuple[int, int, str]]:
    """What was promised for each job, whenever it ends: the amount, what of it was taken, how the hold stands."""
    sql = "SELECT subject_id, amount, captured, state FROM billing_hold WHERE subject_id = ANY(%s::uuid[])"
    found = {
        str(job): (amount, taken, state)
        for job, amount, taken, state in shop.rows(sql, [job["id"] for job in jobs.values()])
    }
    return {word: found[job["id"]] for word, job in jobs.items()}


def takings(shop: Shop, jobs: dict[str, dict[str, Any]]) -> list[int]:
    """What the ledger took from the owner for these jobs, entry by entry."""
    sql = (
        "SELECT entry.amount FROM billing_ledgerentry entry JOIN billing_ledgertransaction cause"
        " ON cause.id = entry.transaction_id WHERE cause.subject_id = ANY(%s::uuid[]) AND balance_after IS NOT NULL"
    )
    return [amount for (amount,) in shop.rows(sql, [job["id"] for job in jobs.values()])]


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
    assert {(job["price"], job["charged"]) for job in jobs.values()} == {(50, "held")}
    # some have ended before the last is ordered; what was promised for each is on record all the same
    assert sum(amount for amount, _, _ in holds(shop, jobs).values()) == 550

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
    taken = {"succeeded": (50, 50, "captured")}
    assert holds(shop, jobs) == {word: taken.get(end, (50, 0, "released")) for word, end in ends.items()}
    good = sum(end == "succeeded" for end in ends.values())
    assert takings(shop, jobs) == [-50] * good
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
    shop.control("POST", "settings", slow_s=60)
    job = alice.headshot(photo, style_prompt="sandbox:slow")
    until(lambda: alice.ok("GET", f"generations/{job['id']}")["status"] == "running", "the job runs")

    shop.flush_valkey()
    other = alice.headshot(photo)
    shop.flush_valkey()
    shop.control("POST", "advance", seconds=60)

    assert [alice.ended(one["id"])["charged"] for one in (job, other)] == ["settled", "settled"]
    assert spent(before, alice.balance()) == 100


def test_valkey_stopped_in_the_middle_loses_nothing(shop: Shop, alice: Customer, photo: str) -> None:
    """What commits answers as if nothing were wrong; what must be counted first says 503; no answer is a 500."""
    before = alice.balance()
    payment, spare = order(alice, "credits:41"), alice.upload(portrait(5))
    shop.control("POST", "settings", slow_s=60)
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
        assert requests.get(f"{shop.stack.url}/health", timeout=60).status_code == 503
    finally:
        shop.start_valkey()
    shop.control("POST", "advance", seconds=60)

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

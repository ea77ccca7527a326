"""The whole story with everything written down that can be: what the logs tell, and what they never do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests import books
from tests.scenarios.client import PASSWORD, Customer, portrait
from tests.scenarios.stack import Stack, until

pytestmark = pytest.mark.scenario

LOUD = {"DEBUG_MODE": "true", "LOG_LEVEL": "debug", "LOG_JSON": "true"}
# Settings that open something.
KEYS = re.compile(r"SECRET|_KEY$|PASSWORD|TOKEN")


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    return tmp_path / "log" / "atelier.log"


@pytest.fixture
def loud(transactional_db: None, tmp_path: Path, database_url: str, redis_url: str, shared: Path) -> Iterator[Stack]:
    """The same product, with one log file for all of it."""
    running = Stack(tmp_path, database_url=database_url, redis_url=redis_url, LOG_FILE=str(shared), **LOUD)
    try:
        running.start()
        yield running
    finally:
        running.stop()


def test_nothing_secret_is_written_down(loud: Stack, shared: Path) -> None:
    secrets = {value for name, value in loud.environment.items() if KEYS.search(name) and len(value) > 8}
    assert len(secrets) >= 8
    alice = Customer(loud, "alice@example.com")

    alice.ok("POST", "auth/register", json={"email": alice.email, "password": PASSWORD})
    mail = until(lambda: alice.mails("confirm"), "the verification mail")[0]
    token = re.search(r"/verify-email/([\w.~:-]+)", mail["text"])
    assert token
    assert requests.get(f"{loud.url}/verify-email/{token[1]}", timeout=60).ok
    alice.ok("POST", "auth/verify-email", json={"token": token[1]})
    alice.send("POST", "auth/login", json={"email": alice.email, "password": "a wrong pass phrase 8"})
    signed_in = alice.ok("POST", "auth/login", json={"email": alice.email, "password": PASSWORD})
    signed_in = alice.ok("POST", "auth/refresh", json={"refresh": signed_in["refresh"]})
    alice.token = signed_in["access"]
    payment = alice.ok("POST", "payments", key="a-key-of-mine", json={"item": "credits:100", "gateway": "razorpay"})
    handed = alice.pay(payment)
    alice.send("POST", f"payments/{payment['id']}/verify", json=handed | {"razorpay_signature": "f" * 64})
    alice.ok("POST", f"payments/{payment['id']}/verify", json=handed)
    alice.settled(payment["id"])
    job = alice.ended(alice.headshot(alice.upload(portrait()), style_prompt="a suit of very own words")["id"])
    assert alice.picture(job).size
    link = alice.send("GET", f"generations/{job['id']}/download").headers["Location"]
    hosted = {"item": "credits:10", "gateway": "razorpay", "flow": "hosted"}
    alice.ok("POST", "payments", key="another", json=hosted)
    alice.send("POST", "auth/refresh", json={"refresh": "eyJhbGciOiJIUzI1NiJ9.e30.forged"})
    until(lambda: "generation.succeeded" in shared.read_text(), "the end of the job is written down")

    secrets |= {PASSWORD, "a wrong pass phrase 8", token[1], signed_in["access"], signed_in["refresh"], alice.token}
    secrets |= {handed["razorpay_signature"], link.rpartition("/")[2].partition("?")[0]}
    secrets |= {output["url"].rpartition("/")[2].partition("?")[0] for output in job["outputs"]}
    secrets |= {"Authorization", "Bearer ey", "argon2", alice.email, "very own words"}
    everything = shared.read_text() + "".join(loud.log(name) for name in ("web", "worker", "beat"))
    assert [secret for secret in secrets if secret in everything] == []
    _tells_the_story(shared)
    books.check()


def _tells_the_story(shared: Path) -> None:
    lines: list[dict[str, Any]] = [json.loads(line) for line in shared.read_text().splitlines()]
    by_logger: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        by_logger.setdefault(line["logger"], []).append(line)
    asked = {(line["method"], line["path"], line["status"]) for line in by_logger["request"]}
    assert ("POST", "/api/v1/headshots", 202) in asked
    assert ("POST", "/api/v1/auth/login", 401) in asked
    assert all(line["ms"] >= 0 and line["request_id"] for line in by_logger["request"])
    assert {line["outcome"] for line in by_logger["security"] if line["event"] == "login"} == {
        "ok",
        "invalid_credentials",
    }
    facts = {line["event"] for line in by_logger["business"]}
    assert {"user.registered", "generation.created", "generation.succeeded"} <= facts
    assert any(fact.startswith("payment.") for fact in facts)
    assert any(line["level"] == "debug" and line["logger"] == "http" for line in lines)

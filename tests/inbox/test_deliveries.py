"""Webhooks come in once, verified, and are handled later, again and again until their handler can say."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse

import audit
from audit.models import AuditLog
from core import http
from inbox import deliveries
from inbox.deliveries import Outcome, Verdict
from inbox.models import Delivery
from tests.people import make_staff

SECRET = b"probe-secret"
seen: list[dict[str, Any]] = []
outcomes: list[Outcome | Exception] = []


def verify(headers: Mapping[str, str], body: bytes, *, now: int) -> Verdict:
    given = headers.get("X-Probe-Signature", "")
    if not hmac.compare_digest(given, hmac.new(SECRET, body, hashlib.sha256).hexdigest()):
        return Verdict.INVALID
    return Verdict.STALE if headers.get("X-Probe-Stale") else Verdict.VALID


def not_configured(headers: Mapping[str, str], body: bytes, *, now: int) -> Verdict:
    return Verdict.NOT_CONFIGURED


def handle(event: dict[str, Any], *, stale: bool) -> Outcome:
    seen.append(event | {"stale": stale})
    outcome = outcomes.pop(0) if outcomes else Outcome.PROCESSED
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


@pytest.fixture(autouse=True)
def _providers(settings: Any) -> None:
    here = __name__
    settings.INBOX_HANDLERS = {
        "probe": {"verify": f"{here}.verify", "handle": f"{here}.handle"},
        "keyless": {"verify": f"{here}.not_configured", "handle": f"{here}.handle"},
    }
    seen.clear()
    outcomes.clear()


def send(body: bytes, *, provider: str = "probe", signature: str | None = None, **headers: str) -> Any:
    signature = hmac.new(SECRET, body, hashlib.sha256).hexdigest() if signature is None else signature
    try:
        return Client(raise_request_exception=False).post(
            f"/api/v1/webhooks/{provider}",
            body,
            content_type="application/json",
            headers={"X-Probe-Signature": signature} | headers,
        )
    finally:
        if not connection.in_atomic_block:
            connection.close()


EVENT = json.dumps({"event": "payment.captured", "payload": {"id": "x"}}).encode()


@pytest.mark.django_db
def test_a_signed_body_is_stored_and_audited_and_answered() -> None:
    response = send(EVENT)

    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    row = Delivery.objects.get()
    assert (row.state, row.event_type, bytes(row.body), row.is_stale) == ("received", "payment.captured", EVENT, False)
    assert AuditLog.objects.get(action="webhook.received").source == "WEBHOOK"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("provider", "body", "signature", "status", "code"),
    [
        ("probe", EVENT, "0" * 64, 400, "webhook_invalid"),
        ("probe", EVENT, "", 400, "webhook_invalid"),
        ("probe", b"not json", None, 400, "webhook_invalid"),
        ("probe", b"[]", None, 400, "webhook_invalid"),
        ("keyless", EVENT, None, 404, "webhook_unknown"),
        ("nobody", EVENT, None, 404, "webhook_unknown"),
        ("probe", b" " * ((1 << 20) + 1), None, 413, "too_large"),
    ],
)
def test_what_cannot_be_believed_is_refused_and_not_stored(
    provider: str, body: bytes, signature: str | None, status: int, code: str
) -> None:
    response = send(body, provider=provider, signature=signature)

    assert (response.status_code, response.json()["error"]) == (status, code)
    assert not Delivery.objects.exists()
    assert not AuditLog.objects.filter(action="webhook.received").exists()


@pytest.mark.django_db(transaction=True)
def test_fifty_at_once_are_stored_once() -> None:
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: send(EVENT).status_code, range(50)))

    assert answers == [200] * 50
    assert Delivery.objects.get().times_received == 50
    assert AuditLog.objects.filter(action="webhook.received").count() == 1
    assert deliveries.handle_due() == 1
    assert len(seen) == 1


@pytest.mark.django_db
def test_handling_marks_the_row_and_never_repeats() -> None:
    send(EVENT, **{"X-Probe-Stale": "1"})

    assert deliveries.handle_due() == 1
    assert deliveries.handle_due() == 0

    assert [event["stale"] for event in seen] == [True]
    assert Delivery.objects.get().state == "processed"


@pytest.mark.django_db
def test_an_unknown_type_is_ignored() -> None:
    send(EVENT)
    outcomes.append(Outcome.IGNORED)

    deliveries.handle_due()

    assert Delivery.objects.get().state == "ignored"


@pytest.mark.django_db
def test_an_unmatched_id_is_tried_again_for_ten_minutes() -> None:
    send(EVENT)
    outcomes.extend([Outcome.UNMATCHED, Outcome.UNMATCHED, Outcome.PROCESSED])

    deliveries.handle_due()
    row = Delivery.objects.get()
    assert (row.state, row.attempts) == ("failed", 1)
    assert deliveries.handle_due() == 0
    Delivery.objects.update(next_at=Now())
    deliveries.handle_due()
    Delivery.objects.update(next_at=Now())
    deliveries.handle_due()

    assert Delivery.objects.get().state == "processed"


@pytest.mark.django_db
def test_an_id_unmatched_for_too_long_is_not_ours() -> None:
    send(EVENT)
    Delivery.objects.update(created_at=Now() - timedelta(minutes=11))
    outcomes.append(Outcome.UNMATCHED)

    deliveries.handle_due()

    assert Delivery.objects.get().state == "ignored"


@pytest.mark.django_db
def test_a_handler_that_keeps_failing_ends_dead_for_a_person_to_see() -> None:
    send(EVENT)
    outcomes.extend([RuntimeError("broken")] * deliveries.MAX_ATTEMPTS)

    for _ in range(deliveries.MAX_ATTEMPTS):
        Delivery.objects.update(next_at=Now())
        assert deliveries.handle_due() == 1

    row = Delivery.objects.get()
    assert (row.state, row.note) == ("dead", "RuntimeError: broken")
    assert deliveries.handle_due() == 0


@pytest.mark.django_db
def test_a_worker_that_died_leaves_a_lease_that_lapses() -> None:
    send(EVENT)
    Delivery.objects.update(next_at=Now() + deliveries.LEASE)
    assert deliveries.handle_due() == 0

    Delivery.objects.update(next_at=Now() - timedelta(seconds=1))

    assert deliveries.handle_due() == 1


@pytest.mark.django_db(transaction=True)
def test_two_workers_never_handle_one_delivery_together() -> None:
    for n in range(20):
        send(json.dumps({"event": "x", "n": n}).encode())

    def work(_: int) -> int:
        try:
            return deliveries.handle_due()
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        handled = sum(pool.map(work, range(4)))

    assert handled == 20
    assert sorted(event["n"] for event in seen) == list(range(20))


@pytest.mark.django_db
def test_old_bodies_are_purged() -> None:
    send(EVENT)
    Delivery.objects.update(created_at=Now() - timedelta(days=91))

    assert deliveries.purge() == 1


# --- Replays ----------------------------------------------------------------------------------------------------------


def settle(event: dict[str, Any], *, stale: bool) -> Outcome:
    """A handler that changes something of ours."""
    audit.record("probe.settled", ("probe", event["event"]), new={"amount": 5})
    return Outcome.PROCESSED


def capture(event: dict[str, Any], *, stale: bool) -> Outcome:
    """A handler that changes something at the provider."""
    audit.record("probe.asked", ("probe", event["event"]))
    http.call("POST", "http://127.0.0.1:9/capture", json={})
    return Outcome.PROCESSED


def test_a_rehearsal_tells_what_would_change_and_changes_nothing(db: None, settings: Any) -> None:
    send(EVENT)
    row = Delivery.objects.get()
    assert deliveries.rehearse(row) == [
        "Nothing in the books or on record would change.",
        "Its handler would say: processed.",
    ]

    settings.INBOX_HANDLERS["probe"]["handle"] = f"{__name__}.settle"
    before = AuditLog.objects.count()
    assert deliveries.rehearse(row) == [
        'probe.settled of probe payment.captured: {"amount":5}',
        "Its handler would say: processed.",
    ]
    settings.INBOX_HANDLERS["probe"]["handle"] = f"{__name__}.capture"
    [said] = [line for line in deliveries.rehearse(row) if "would say" in line]
    assert "fails: NotSent: POST http://127.0.0.1:9/capture: not while only looking" in said

    assert AuditLog.objects.count() == before
    row.refresh_from_db()
    assert (row.state, row.attempts) == ("received", 0)


def test_a_dead_delivery_is_shown_and_then_handled_again(db: None) -> None:
    send(EVENT)
    Delivery.objects.update(state="dead", attempts=8, next_at=None, note="ValueError: no")
    row = Delivery.objects.get()
    ops = make_staff("ops")
    client = Client()
    client.force_login(ops)
    url = reverse("admin:inbox_delivery_replay", args=[row.pk])
    form = {"reason": "The handler is mended.", "_form_submitted": "True"}

    shown = client.post(url, form)
    assert "Nothing in the books" in shown.content.decode()
    row.refresh_from_db()
    assert row.state == "dead"
    client.post(url, form | {"seen": shown.context["form"].data["seen"]})

    row.refresh_from_db()
    assert (row.state, row.attempts, row.note) == ("received", 0, "")
    [told] = AuditLog.objects.filter(action="webhook.replayed")
    assert (told.actor_id, told.old, told.metadata) == (
        ops.pk,
        {"state": "dead"},
        {"reason": "The handler is mended."},
    )
    assert deliveries.handle_due() == 1
    row.refresh_from_db()
    assert row.state == "processed"

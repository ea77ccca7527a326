"""One key, one effect, one answer: again, at once, after an error, after a crash, in another body."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test import Client

from audit.models import AuditLog
from core.idempotency import purge
from core.models import IdempotencyKey
from tests.core import probe
from tests.people import make_user
from tests.scenarios.stack import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.core.probe")]


def post(email: str, key: str | None, body: Any, path: str = "things", **headers: str) -> Any:
    client = Client(headers={"X-Test-User": email}, raise_request_exception=False)
    try:
        return client.post(
            f"/api/v1/{path}",
            body,
            content_type="application/json",
            headers=({"Idempotency-Key": key} if key is not None else {}) | headers,
        )
    finally:
        if not connection.in_atomic_block:
            connection.close()


@pytest.fixture
def alice() -> str:
    return make_user(email="alice@example.test").email


def made() -> int:
    return AuditLog.objects.filter(entity_type="probe").count()


def test_a_key_is_required(alice: str) -> None:
    response = post(alice, None, {"name": "a"})

    assert (response.status_code, response.json()["error"]) == (400, "idempotency_key_required")
    assert made() == 0


@pytest.mark.parametrize("path", ["things", "resumable", "optional"])
@pytest.mark.parametrize("key", ["x" * 256, "a\x7fb", "a b", "a\n", "\u00e9", ""])
def test_a_bad_key_is_refused(alice: str, key: str, path: str) -> None:
    assert post(alice, key, {"name": "a"}, path=path).status_code == 400
    assert made() == 0


def test_no_key_is_no_bad_key_where_none_is_required(alice: str) -> None:
    assert post(alice, None, {"name": "a"}, path="optional").status_code == 202
    assert (made(), IdempotencyKey.objects.count()) == (1, 0)


def test_the_same_key_and_body_repeat_the_answer(alice: str) -> None:
    first = post(alice, "k", {"name": "a", "count": 2})
    again = post(alice, "k", {"count": 2, "name": "a"})

    assert (first.status_code, again.status_code) == (202, 202)
    assert first.content == again.content
    assert again["Location"] == first["Location"]
    assert again["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first
    assert made() == 1


def test_another_body_is_a_mismatch(alice: str) -> None:
    post(alice, "k", {"name": "a"})

    response = post(alice, "k", {"name": "b"})

    assert (response.status_code, response.json()["error"]) == (409, "idempotency_mismatch")
    assert made() == 1


def test_a_lock_not_had_in_the_one_transaction_charged_nothing(alice: str) -> None:
    answer = post(alice, "k", {"name": "locked out"})

    assert (answer.status_code, answer.json()["error"], answer.json()["charged"]) == (409, "conflict", "none")
    assert answer["Retry-After"] == "1"
    assert (made(), IdempotencyKey.objects.count()) == (0, 0)


def test_a_lock_not_had_in_a_resumable_request_may_have_charged(alice: str) -> None:
    answer = post(alice, "k", {"name": "locked out"}, path="resumable")

    assert (answer.status_code, answer.json()["error"], answer.json()["charged"]) == (409, "conflict", "unknown")
    assert post(alice, "k", {"name": "locked out"}, path="resumable").status_code == 409  # at once: the key is free


def test_another_person_or_route_has_keys_of_their_own(alice: str) -> None:
    bob = make_user(email="bob@example.test").email

    assert post(alice, "k", {"name": "a"}).status_code == 202
    assert "Idempotent-Replayed" not in post(bob, "k", {"name": "a"})
    assert post(alice, "k", {"name": "a"}, path="resumable").status_code == 201
    assert made() == 2


@pytest.mark.parametrize(("name", "status"), [("refuse", 409), ("crash", 500), ("x" * 21, 400)])
def test_an_error_leaves_neither_effect_nor_key(alice: str, name: str, status: int) -> None:
    assert post(alice, "k", {"name": name}).status_code == status

    assert made() == 0
    assert IdempotencyKey.objects.count() == 0
    assert post(alice, "k", {"name": "another body"}).status_code == 202


def test_twins_at_once_make_one_effect(alice: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(alice, "k", {"name": "a"}), range(8)))

    assert made() == 1
    assert {a.status_code for a in answers} <= {202, 409}
    assert len({a.content for a in answers if a.status_code == 202}) == 1


def test_a_twin_waits_a_little_and_is_then_told_to_come_back(alice: str) -> None:
    probe.go_on.clear()
    probe.inside.clear()
    try:
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(post, alice, "k", {"name": "a"})
            assert probe.inside.wait(60)

            twin = post(alice, "k", {"name": "a"})

            assert (twin.status_code, twin.json()["error"]) == (409, "idempotency_in_progress")
            assert twin["Retry-After"] == "2"
            assert twin.json()["charged"] == "unknown"
            probe.go_on.set()
            assert first.result(60).status_code == 202
    finally:
        probe.go_on.set()
    assert post(alice, "k", {"name": "a"})["Idempotent-Replayed"] == "true"
    assert made() == 1


def others(condition: str) -> list[int]:
    """Other sessions on our database."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            f"AND {condition}"
        )
        return [pid for (pid,) in cursor.fetchall()]


def test_a_twin_that_waits_takes_over_when_the_first_dies(alice: str) -> None:
    probe.go_on.clear()
    probe.inside.clear()
    try:
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(post, alice, "k", {"name": "a"})
            assert probe.inside.wait(60)
            dying = others("state = 'idle in transaction'")
            assert len(dying) == 1
            twin = pool.submit(post, alice, "k", {"name": "a"})
            until(lambda: others("wait_event_type = 'Lock'"), "the twin waits")

            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s)", dying)
            probe.go_on.set()

            assert twin.result(60).status_code == 202
            lost = first.result(60)
    finally:
        probe.go_on.set()
    assert (lost.status_code, lost.json()["charged"]) == (503, "unknown")
    assert made() == 1
    assert post(alice, "k", {"name": "a"})["Idempotent-Replayed"] == "true"


def test_a_resumable_key_resumes_what_it_made_after_an_error(alice: str) -> None:
    first = post(alice, "k", {"name": "crash"}, path="resumable")
    subject = IdempotencyKey.objects.get().subject_id

    again = post(alice, "k", {"name": "crash"}, path="resumable", **{"X-Second": "1"})

    assert (first.status_code, again.status_code) == (502, 201)
    assert again.json()["subject"] == str(subject)
    assert post(alice, "k", {"name": "crash"}, path="resumable")["Idempotent-Replayed"] == "true"


def test_a_resumable_key_under_way_is_taken_over_only_after_its_lease(alice: str) -> None:
    post(alice, "k", {"name": "crash"}, path="resumable")
    IdempotencyKey.objects.update(locked_until=Now() + timedelta(seconds=30))

    busy = post(alice, "k", {"name": "crash"}, path="resumable", **{"X-Second": "1"})

    assert (busy.status_code, busy.json()["error"]) == (409, "idempotency_in_progress")
    IdempotencyKey.objects.update(locked_until=Now() - timedelta(seconds=1))
    assert post(alice, "k", {"name": "crash"}, path="resumable", **{"X-Second": "1"}).status_code == 201


def test_keys_are_forgotten_after_a_day(alice: str) -> None:
    post(alice, "k", {"name": "a"})
    IdempotencyKey.objects.update(created_at=Now() - timedelta(hours=25))

    assert post(alice, "k", {"name": "b"}).status_code == 202
    IdempotencyKey.objects.update(created_at=Now() - timedelta(hours=25))

    assert purge() == 1


def test_repetitions_are_not_counted_against_the_limit(alice: str, settings: Any) -> None:
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"purchases": (2, 86_400, "user")}

    assert [post(alice, "k", {"name": "a"}).status_code for _ in range(5)] == [202] * 5
    assert post(alice, "r", {"name": "crash"}, path="resumable").status_code == 502
    assert post(alice, "r", {"name": "crash"}, path="resumable", **{"X-Second": "1"}).status_code == 201
    assert post(alice, "another", {"name": "a"}).status_code == 429

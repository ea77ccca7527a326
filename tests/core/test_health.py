"""/health: what is down is told, and asking never costs more than the answer is worth."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from celery import current_app
from django.test import Client
from pytest_django import Settings

from config.celery import Scheduler, app
from core import health, jobs, metrics, redis

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is known from an earlier test, and mail is well."""
    monkeypatch.setitem(health.PARTS, "mail", lambda: None)
    health._seen.clear()
    yield
    health._seen.clear()


def down() -> None:
    raise ConnectionError


def ask(**headers: str) -> tuple[int, dict[str, object]]:
    response = Client(headers=headers).get("/health")
    return response.status_code, response.json()


def test_all_is_well() -> None:
    code, answer = ask()

    assert (code, answer["status"]) == (200, "ok")
    assert set(answer["parts"]) >= {"database", "redis", "storage", "mail"}  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("part", "code", "status"),
    [("database", 503, "down"), ("redis", 503, "down"), ("storage", 200, "degraded"), ("mail", 200, "degraded")],
)
def test_a_part_that_is_down(monkeypatch: pytest.MonkeyPatch, part: str, code: int, status: str) -> None:
    monkeypatch.setitem(health.PARTS, part, down)

    found = ask()

    assert (found[0], found[1]["status"]) == (code, status)
    assert found[1]["parts"][part]["status"] == "down"  # type: ignore[index]


def test_beat_and_queues_tell_how_late_they_are() -> None:
    redis.client().delete(jobs._DONE_AT)
    assert {ask()[1]["parts"][name]["status"] for name in ("beat", "queue default")} == {"unknown"}  # type: ignore[index]

    Scheduler(app=app).tick()
    current_app.tasks["core.purge"]()

    _, answer = ask()
    assert answer["status"] == "ok"
    parts: Any = answer["parts"]
    assert (parts["beat"]["status"], parts["queue default"]["status"]) == ("ok", "ok")
    assert parts["queue mail"] == {"status": "unknown", "seconds": None}
    redis.client().hset(jobs._DONE_AT, "core.purge", 1)
    _, answer = ask()
    assert (answer["status"], answer["parts"]["queue default"]["status"]) == ("degraded", "late")  # type: ignore[index]
    assert b'queue_lag_seconds{queue="default"}' in metrics.scrape()
    assert b"beat_age_seconds" in metrics.scrape()


def test_strangers_hear_the_verdict_only(settings: Settings) -> None:
    settings.METRICS_ALLOW, settings.METRICS_TOKEN = [], "t" * 32

    assert ask() == (200, {"status": "ok"})
    assert "parts" in ask(authorization="Bearer " + "t" * 32)[1]
    assert Client().get("/metrics").status_code == 404


def test_however_many_ask_the_mail_server_is_tried_once_and_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []
    is_trying, answers = threading.Event(), threading.Event()

    def mail() -> None:
        tries.append(1)
        if len(tries) > 1:
            is_trying.set()
            answers.wait(100)

    monkeypatch.setitem(health.PARTS, "mail", mail)
    assert health._lately("mail")["status"] == "ok"
    monkeypatch.setattr(health, "SEEN_FOR_S", 0.0)

    with ThreadPoolExecutor(4) as pool:
        slow = pool.submit(health._lately, "mail")
        assert is_trying.wait(60)
        assert [pool.submit(health._lately, "mail").result(60)["status"] for _ in range(3)] == ["ok"] * 3
        answers.set()
        assert slow.result(60)["status"] == "ok"
    assert len(tries) == 2


def test_ready_asks_for_what_is_vital_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(health.PARTS, "mail", down)
    assert Client().get("/health/ready").status_code == 200

    monkeypatch.setitem(health.PARTS, "redis", down)
    assert Client().get("/health/ready").status_code == 503
    assert Client().get("/health/live").status_code == 200

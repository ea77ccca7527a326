"""Wake-ups: sent once, never lost to a clock, never in the way of the request that sends them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from celery import current_app
from django.conf import settings

from config.celery import Scheduler, app, make_way
from core import jobs, redis

NAME = "core.purge"


@pytest.fixture(autouse=True)
def empty() -> Iterator[None]:
    redis.client().flushdb()
    yield
    redis.client().flushdb()


def waiting() -> list[dict[str, Any]]:
    """The messages in the broker's queue."""
    return [json.loads(message) for message in redis.client().lrange("atelier:default", 0, -1)]


def test_a_wake_up_never_expires_by_a_clock_of_ours() -> None:
    assert jobs.publish(NAME)

    (message,) = waiting()
    assert message["headers"]["expires"] is None
    assert message["headers"]["eta"] is None


def test_wake_ups_do_not_pile_up_behind_one_that_waits() -> None:
    assert [jobs.publish(NAME) for _ in range(5)] == [True] * 5

    assert len(waiting()) == 1


def test_a_task_that_starts_makes_way_for_the_next_wake_up(db: None) -> None:
    jobs.publish(NAME)

    current_app.tasks[NAME]()
    jobs.publish(NAME)

    assert len(waiting()) == 2


def test_a_wake_up_sent_while_the_task_runs_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    @jobs.task("tests.core.busy")
    def busy() -> None:
        jobs.publish("tests.core.busy")
        seen.append(len(waiting()))

    jobs.publish("tests.core.busy")
    busy()

    assert seen == [2]


def test_a_message_that_is_lost_keeps_others_back_for_seconds_only() -> None:
    jobs.publish(NAME)
    redis.client().delete("atelier:default")

    assert 0 < redis.client().ttl(f"atelier:awaited:{NAME}") <= jobs.AWAITED_S


def test_a_worker_that_starts_waits_for_no_message_that_another_died_with() -> None:
    jobs.publish(NAME)
    redis.client().delete("atelier:default")

    make_way()

    assert jobs.publish(NAME)
    assert len(waiting()) == 1


def test_the_beat_wakes_everything_at_its_start_and_then_by_the_same_door() -> None:
    scheduler = Scheduler(app=app)

    waits = [scheduler.tick() for _ in range(3)]

    names = [
        json.loads(text)["headers"]["task"]
        for queue in jobs.QUEUES
        for text in redis.client().lrange(f"atelier:{queue}", 0, -1)
    ]
    assert sorted(names) == sorted(settings.WAKE_EVERY_S)
    assert all(0 < wait <= min(settings.WAKE_EVERY_S.values()) for wait in waits)
    assert settings.CELERY_BEAT_SCHEDULER == "config.celery:Scheduler"


def test_the_beat_goes_on_when_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler, real = Scheduler(app=app), time.time
    scheduler.tick()
    redis.client().flushdb()

    monkeypatch.setattr(time, "time", lambda: real() - 3600)
    scheduler.due_at[NAME] = time.monotonic()
    scheduler.tick()

    assert [message["headers"]["task"] for message in waiting()] == [NAME]


def test_a_broker_that_is_away_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError

    monkeypatch.setattr(current_app.tasks[NAME], "apply_async", away)

    assert jobs.publish(NAME) is False
    assert not redis.client().exists(f"atelier:awaited:{NAME}")

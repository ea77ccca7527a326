"""Background work: the queue is the table, a message only says that work is due and carries nothing."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog
from celery import current_app, current_task, shared_task
from celery.exceptions import NotRegistered
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction

from core import context, redis, tracing
from core.ids import new_id

log = structlog.get_logger("jobs")

# Task name → queue; Celery asks `route`.
_queue_of: dict[str, str] = {}

# How long a message that nobody starts keeps others of its name back, by Redis' own clock. Messages have no expiry:
# that would compare the sender's clock with the worker's, and a worker a minute ahead would drop every one of them.
AWAITED_S = 10
# A beat or a queue that is so much behind is told as late. A long task keeps the others of its queue waiting, too.
LATE_S = 120
_DONE_AT = "atelier:done_at"

QUEUES = ("default", "providers", "providers_sync", "bulk", "mail", "webhooks")


def task(name: str, *, queue: str = "default") -> Callable[[Callable[[], None]], Any]:
    """Declare an argument-less Celery task. It may run twice, late or never: it claims its work from tables.

    Raises: ValueError for a queue that no worker serves.
    """
    if queue not in QUEUES:
        raise ValueError(f"no queue {queue!r}; choose one of {', '.join(QUEUES)}")

    def declare(function: Callable[[], None]) -> Any:
        @functools.wraps(function)
        def run() -> None:
            parent = getattr(current_task.request, tracing.CARRIER, None) if current_task else None
            with (
                context.use(source="SYSTEM", request_id=f"{name}:{new_id().hex[-12:]}", actor_id=None, ip=None) as now,
                tracing.span(name, "CONSUMER", {"atelier.request_id": now.request_id}, parent=parent) as told,
            ):
                # Before the first query: what is committed from now on needs a message of its own.
                with suppress(redis.Error):
                    redis.client().delete(_awaited(name))
                    note(name)
                try:
                    function()
                except (OperationalError, InterfaceError) as error:
                    # The database is away: every wake-up meets it, so one line and no stack.
                    told.has_failed = True
                    log.error("task_failed", task=name, error=str(error).partition("\n")[0])
                    connection.close_if_unusable_or_obsolete()
                except Exception:
                    # The row stays due and the next wake-up finds it again; a message is never retried.
                    log.exception("task_failed", task=name)
                    connection.close_if_unusable_or_obsolete()
                    raise

        _queue_of[name] = queue
        return shared_task(name=name, ignore_result=True)(run)

    return declare


def route(name: str, *_: Any, **__: Any) -> dict[str, str] | None:
    """Celery's router: the queue that the task was declared with."""
    return {"queue": _queue_of[name]} if name in _queue_of else None


def wake(name: str) -> None:
    """Publish once, after the running transaction commits, that `name` has work.

    A broker that is away never fails the caller: the periodic wake-up finds the work.

    Raises: celery.exceptions.NotRegistered at once for an unknown name, so that a typo fails in its own request.
    """
    if name not in current_app.tasks:
        raise NotRegistered(name)
    transaction.on_commit(functools.partial(publish, name), robust=True)


def publish(name: str) -> bool:
    """Send the message now, unless one of that name waits to be started. Returns whether one waits; never raises."""
    try:
        if not redis.client().set(_awaited(name), "1", nx=True, ex=AWAITED_S):
            return True
        with tracing.span(f"wake {name}", "PRODUCER"):
            current_app.tasks[name].apply_async(retry=False, ignore_result=True, headers=tracing.carried())
    except Exception as error:
        # Whatever kombu or redis raise: the committed request must not answer 500 because the broker is away.
        log.warning("wake_lost", task=name, error=type(error).__name__)
        with suppress(redis.Error):
            redis.client().delete(_awaited(name))
        return False
    return True


def forget_awaited() -> None:
    """Let every name be sent again: a worker starts, and what its forerunner had taken and not begun is gone."""
    with suppress(redis.Error):
        redis.client().delete(*map(_awaited, _queue_of))


def note(name: str) -> None:
    """Keep when this was last done, by Redis' own clock: `beat`, or a task that a worker began.

    Raises: redis.Error.
    """
    redis.client().eval("redis.call('HSET', KEYS[1], ARGV[1], redis.call('TIME')[1])", 1, _DONE_AT, name)


def lags() -> dict[str, dict[str, Any]]:
    """How long ago beat last looked, and how late the latest task of each queue is, beyond how often it is woken.

    None is what Redis does not know: nothing of it has run since it was started or emptied.

    Raises: redis.Error.
    """
    asked = redis.client().pipeline(transaction=False)
    asked.time()
    asked.hgetall(_DONE_AT)
    (now, _), done_at = asked.execute()
    late: dict[str, list[float]] = {queue: [] for queue in QUEUES}
    for name, every_s in settings.WAKE_EVERY_S.items():
        if name in done_at and name in _queue_of:
            late[_queue_of[name]].append(max(0.0, now - int(done_at[name]) - every_s))
    ages = {"beat": now - int(done_at["beat"]) if "beat" in done_at else None}
    ages |= {f"queue {queue}": max(each, default=None) for queue, each in late.items()}
    return {
        name: {"status": "unknown" if age is None else "late" if age > LATE_S else "ok", "seconds": age}
        for name, age in ages.items()
    }


def _awaited(name: str) -> str:
    return f"atelier:awaited:{name}"

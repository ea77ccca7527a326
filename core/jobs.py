"""Background work: the queue is the table, a message only says that work is due and carries nothing."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import structlog
from celery import current_app, shared_task
from celery.exceptions import NotRegistered
from django.db import connection, transaction

from core import context
from core.ids import new_id

log = structlog.get_logger("jobs")

# Task name → queue; Celery asks `route`.
_queue_of: dict[str, str] = {}

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
            with context.use(source="SYSTEM", request_id=f"{name}:{new_id().hex[-12:]}", actor_id=None, ip=None):
                try:
                    function()
                except Exception:
                    # The row stays due and the next wake-up finds it again; a message is never retried.
                    log.exception("task_failed", task=name)
                    connection.close_if_unusable_or_obsolete()
                    raise

        _queue_of[name] = queue
        return shared_task(name=name, acks_late=True, ignore_result=True)(run)

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
    """Send the message now. Returns whether the broker took it; never raises."""
    try:
        current_app.tasks[name].apply_async(retry=False, expires=60, ignore_result=True)
    except Exception as error:
        # Whatever kombu or redis raise: the committed request must not answer 500 because the broker is away.
        log.warning("wake_lost", task=name, error=type(error).__name__)
        return False
    return True

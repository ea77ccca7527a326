"""The Celery application. Its beat only wakes each queue; due times are in the tables."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import Any

from celery import Celery, beat, signals

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("atelier")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


class Scheduler(beat.Scheduler):
    """Wakes every name of settings.WAKE_EVERY_S at the start and then every so often, by a clock that nobody can set.

    Celery's own schedulers compare times of day, and the usual one keeps them in a file: after a clock was set back by
    an hour they wake nobody for an hour. There is nothing to keep: what was due meanwhile is in the tables.
    """

    def setup_schedule(self) -> None:
        self.due_at: dict[str, float] = {}

    def tick(self, *_: Any, **__: Any) -> float:
        """Send what is due, by the same door as everybody else. Returns the seconds until the next."""
        from django.conf import settings

        from core import jobs, redis

        with suppress(redis.Error):
            jobs.note("beat")
        for name, every_s in settings.WAKE_EVERY_S.items():
            if self.due_at.get(name, 0) <= time.monotonic():
                jobs.publish(name)
                self.due_at[name] = time.monotonic() + every_s
        return max(0, min(self.due_at.values()) - time.monotonic())


@signals.celeryd_init.connect
@signals.beat_init.connect
def refuse(**_: object) -> None:
    """A worker or beat with unsafe production settings does not start."""
    from core import boot, tracing

    boot.refuse()
    tracing.start()


@signals.setup_logging.connect
def log_as_configured(**_: object) -> None:
    """Celery leaves logging alone when somebody answers this: LOG_LEVEL decides in workers too, not `--loglevel`."""


@signals.worker_ready.connect
def make_way(**_: object) -> None:
    """What an earlier worker died with holds no wake-up back."""
    from core import jobs

    jobs.forget_awaited()

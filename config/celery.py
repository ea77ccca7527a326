"""The Celery application. Its beat only wakes each queue; due times are in the tables."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, signals
from celery.beat import PersistentScheduler

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("atelier")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@app.on_after_finalize.connect
def schedule(sender: Celery, **_: object) -> None:
    """Turn settings.WAKE_EVERY_S into the beat's schedule."""
    from django.conf import settings

    sender.conf.beat_schedule = {
        name: {"task": name, "schedule": every_s} for name, every_s in settings.WAKE_EVERY_S.items()
    }


class Scheduler(PersistentScheduler):
    """Sends by the same door as everybody else: no message piles up behind one that waits to be started."""

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **kwargs: Any) -> None:
        from core import jobs

        if advance:
            entry = self.reserve(entry)
        jobs.publish(entry.task)


@signals.celeryd_init.connect
@signals.beat_init.connect
def refuse(**_: object) -> None:
    """A worker or beat with unsafe production settings does not start."""
    from core.checks import refuse_unsafe_boot

    refuse_unsafe_boot()


@signals.worker_ready.connect
def make_way(**_: object) -> None:
    """What an earlier worker died with holds no wake-up back."""
    from core import jobs

    jobs.forget_awaited()

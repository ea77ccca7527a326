from __future__ import annotations

from django.apps import AppConfig


class CoreConfig(AppConfig):
    name = "core"

    def ready(self) -> None:
        # In the web process Celery has no tasks until somebody asks: jobs.wake must know every name at once.
        from celery import current_app

        from core import checks  # noqa: F401  registers the system checks

        current_app.autodiscover_tasks(force=True)

from __future__ import annotations

from django.apps import AppConfig


class CoreConfig(AppConfig):
    name = "core"

    def ready(self) -> None:
        # In the web process Celery has no tasks until somebody asks: jobs.wake must know every name at once.
        from celery import current_app
        from django.contrib.postgres.indexes import OpClass
        from django.db.models.indexes import IndexExpression

        from core import checks  # noqa: F401  registers the system checks

        current_app.autodiscover_tasks(force=True)
        # As django.contrib.postgres does, which would also ask each new connection for types that we have not.
        IndexExpression.register_wrappers(*IndexExpression.wrapper_classes, OpClass)

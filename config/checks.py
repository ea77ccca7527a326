"""System checks that know the apps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core import checks
from django.db import OperationalError

from config import app_role


@checks.register(checks.Tags.security, deploy=True)
def database_role_owns_nothing(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Warn where web and workers could switch the guards of the ledger off; `manage.py check --deploy` asks."""
    try:
        if not settings.PRODUCTION or settings.APP_DATABASE_URL or not app_role.is_mighty():
            return []
    except OperationalError:
        return []  # whatever else is asked will say so
    return [
        checks.Warning(
            "DATABASE_URL is of a superuser or of the tables' owner, who can switch off what keeps the ledger whole.",
            hint="Run `manage.py install` as the owner with APP_DATABASE_URL, and give that to web and workers.",
            id="config.W001",
        )
    ]

"""System checks of the settings. What does not boot is in core.boot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core import checks

from core import boot, storage


def _said(rule: boot.Rule) -> checks.CheckMessage:
    return checks.Error(f"{rule.what}.", hint=f"{rule.fix[0].upper()}{rule.fix[1:]}.", id=rule.id)


@checks.register(checks.Tags.security)
def production_is_safe(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Refuse to boot an unsafe production."""
    return [_said(rule) for rule in boot.broken() if rule in boot.IN_PRODUCTION]


@checks.register(checks.Tags.compatibility)
def names_are_ours(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Warn of variables that are set for nothing, and of providers that cannot call back."""
    return [
        *(
            checks.Warning(f"{old} is set and means nothing here.", hint=f"Set {ours}.", id="core.W001")
            for old, ours in boot.old_names()
        ),
        *(
            checks.Warning(
                f"{provider} cannot call back: PUBLIC_URL leads to this machine.",
                hint="Set PUBLIC_URL to an address that it reaches.",
                id="core.W002",
            )
            for provider in boot.unreachable()
        ),
    ]


@checks.register(checks.Tags.files)
def storage_is_set(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Refuse a bucket that is half set, and links that run out too soon or later than S3 allows."""
    found = [_said(rule) for rule in boot.broken() if rule in boot.ALWAYS]
    if not 900 <= settings.SIGNED_URL_S <= 7 * 86_400:
        found.append(checks.Error("Set SIGNED_URL_S between 900 (15 minutes) and 604800 (7 days).", id="core.E103"))
    return found


@checks.register(checks.Tags.files, deploy=True)
def storage_works(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """`manage.py check --deploy` asks the storage itself."""
    try:
        storage.check()
    except storage.StorageUnusable as error:
        return [checks.Error(str(error), id="core.E104")]
    return []


@checks.register(checks.Tags.compatibility)
def dotted_paths_resolve(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Every dotted path by which a lower app reaches a higher one must name a function."""
    from django.utils.module_loading import import_string

    paths = [
        *settings.USER_REGISTERED,
        *settings.EMAIL_VERIFIED,
        *settings.BILLING_QUOTES.values(),
        settings.APPROVAL_REHEARSAL,
        *settings.BILLING_FULFILMENT.values(),
        *settings.BOOK_CHECKS,
        *settings.METRICS_SOURCES,
        *settings.HEALTH_SOURCES,
        *(path for handler in settings.INBOX_HANDLERS.values() for path in handler.values()),
    ]
    problems: list[checks.CheckMessage] = []
    for path in paths:
        try:
            import_string(path)
        except ImportError as error:
            problems.append(checks.Error(f"settings name {path}: {error}", id="core.E100"))
    return problems


@checks.register(checks.Tags.compatibility)
def wake_ups_name_tasks(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """WAKE_EVERY_S names tasks that exist."""
    from celery import current_app

    unknown = sorted(set(settings.WAKE_EVERY_S) - set(current_app.tasks))
    return [checks.Error(f"WAKE_EVERY_S names {name!r}, which is no task.", id="core.E101") for name in unknown]

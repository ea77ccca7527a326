"""System checks of the settings: unsafe production is refused with the fix in one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core import checks


def unsafe_settings() -> list[tuple[str, str]]:
    """What must not be so in production, as (what is wrong, how to mend it)."""
    wrong = []
    for name in ("SECRET_KEY", "JWT_SECRET", "JWT_REFRESH_SECRET", "MAILBOX_HASH_KEY"):
        if len(getattr(settings, name)) < 32:
            wrong.append((f"{name} is missing or shorter than 32 characters", f"set {name} to a long random value"))
    if settings.JWT_SECRET and settings.JWT_SECRET == settings.JWT_REFRESH_SECRET:
        wrong.append(("JWT_SECRET and JWT_REFRESH_SECRET are the same", "give each its own random value"))
    for name in ("DATABASE_URL", "REDIS_URL"):
        if name not in settings.EXTERNAL_SERVERS:
            wrong.append((f"{name} is missing", f"set {name} to your own server's address"))
    if settings.DEBUG:
        wrong.append(("DEBUG is on", "unset DEBUG"))
    if not settings.ALLOWED_HOSTS or "*" in settings.ALLOWED_HOSTS:
        wrong.append(("ALLOWED_HOSTS is empty or open", "name the hosts you serve in ALLOWED_HOSTS"))
    if "*" in settings.ALLOWED_ORIGINS:
        wrong.append(("ALLOWED_ORIGINS is open", "name the client apps' origins in ALLOWED_ORIGINS"))
    if settings.SANDBOX_ENABLED or "127.0.0.1" in settings.RAZORPAY_BASE_URL:
        wrong.append(("the sandbox is on", "unset SANDBOX_ENABLED and the *_BASE_URL settings"))
    if not settings.TRUSTED_PROXIES:
        wrong.append(("TRUSTED_PROXIES is empty", "set it to your proxies' networks, e.g. 10.0.0.0/8"))
    if not settings.PUBLIC_URL.startswith("https://"):
        wrong.append(("PUBLIC_URL is not https", "set PUBLIC_URL to the https address clients reach"))
    for provider, key in (
        ("RAZORPAY", settings.RAZORPAY_KEY_ID),
        ("STRIPE", settings.STRIPE_SECRET_KEY),
        ("MAGIC_HOUR", settings.MAGIC_HOUR_API_KEY),
    ):
        if key and not getattr(settings, f"{provider}_WEBHOOK_SECRET"):
            wrong.append((f"{provider} has a key but no webhook secret", f"set {provider}_WEBHOOK_SECRET"))
    if not settings.MFA_REQUIRED:
        wrong.append(("staff sign in without a second factor", "unset MFA_REQUIRED"))
    if not settings.RATELIMIT_ENABLE:
        wrong.append(("rate limits are off", "unset RATELIMIT_ENABLE"))
    if not settings.EMAIL_URL:
        wrong.append(("EMAIL_URL is missing", "set EMAIL_URL, e.g. smtp+tls://user:password@mail.example.org:587"))
    return wrong


def refuse_unsafe_boot() -> None:
    """Stop a web process, worker or beat whose production settings are unsafe.

    Raises: SystemExit naming each problem and its mend in one line.
    """
    if settings.PRODUCTION and (problems := unsafe_settings()):
        raise SystemExit("\n".join(f"Atelier does not start: {what}; {fix}." for what, fix in problems))


@checks.register(checks.Tags.security)
def production_is_safe(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Refuse to boot an unsafe production."""
    if not settings.PRODUCTION:
        return []
    return [
        checks.Error(f"{what}.", hint=f"{fix[0].upper()}{fix[1:]}.", id=f"core.E{number:03d}")
        for number, (what, fix) in enumerate(unsafe_settings(), start=1)
    ]


@checks.register(checks.Tags.compatibility)
def dotted_paths_resolve(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Every dotted path by which a lower app reaches a higher one must name a function."""
    from django.utils.module_loading import import_string

    paths = [
        *settings.USER_REGISTERED,
        *settings.EMAIL_VERIFIED,
        *settings.BILLING_QUOTES.values(),
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

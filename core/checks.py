"""System checks of the settings: unsafe production is refused with the fix in one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core import checks

from core import storage


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
    if settings.EMAIL_SENDER and ":" not in settings.EMAIL_WEBHOOK_SECRET:
        wrong.append(("the mail sender has no webhook secret", "set EMAIL_WEBHOOK_SECRET to user:password"))
    if not settings.MFA_REQUIRED:
        wrong.append(("staff sign in without a second factor", "unset MFA_REQUIRED"))
    if not settings.RATELIMIT_ENABLE:
        wrong.append(("rate limits are off", "unset RATELIMIT_ENABLE"))
    if not settings.EMAIL_URL:
        wrong.append(("EMAIL_URL is missing", "set EMAIL_URL, e.g. smtp+tls://user:password@mail.example.org:587"))
    return wrong


def half_set_storage() -> list[tuple[str, str]]:
    """What a bucket needs and has not got, as (what is wrong, how to mend it): nobody wants files in two places."""
    given = {
        name: bool(getattr(settings, name))
        for name in ("S3_BUCKET", "S3_ENDPOINT_URL", "S3_REGION", "S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY")
    }
    set_names = [name for name, is_set in given.items() if is_set]
    if not set_names:
        return []
    if not given["S3_BUCKET"]:
        return [(f"{set_names[0]} is set and S3_BUCKET is not", "set S3_BUCKET, or unset every S3_ setting")]
    wrong = []
    if given["S3_ACCESS_KEY_ID"] != given["S3_SECRET_ACCESS_KEY"]:
        wrong.append(("S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY belong together", "set both, or neither"))
    elif given["S3_ENDPOINT_URL"] and not given["S3_ACCESS_KEY_ID"]:
        wrong.append(("S3_ENDPOINT_URL has no keys", "set S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY"))
    if given["S3_ENDPOINT_URL"] and not settings.S3_ENDPOINT_URL.startswith(("http://", "https://")):
        wrong.append(
            ("S3_ENDPOINT_URL is no http(s) address", "set it to e.g. https://<account>.r2.cloudflarestorage.com")
        )
    if not given["S3_ENDPOINT_URL"] and not given["S3_REGION"]:
        wrong.append(("S3_REGION is missing", "set it to the bucket's region, e.g. eu-central-1"))
    return wrong


def refuse_unsafe_boot() -> None:
    """Stop a web process, worker or beat whose production settings are unsafe, or whose storage is half set.

    Raises: SystemExit naming each problem and its mend in one line.
    """
    problems = [*half_set_storage(), *(unsafe_settings() if settings.PRODUCTION else [])]
    if problems:
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


@checks.register(checks.Tags.files)
def storage_is_set(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Refuse a bucket that is half set, and links that run out too soon or later than S3 allows."""
    found: list[checks.CheckMessage] = [
        checks.Error(f"{what}.", hint=f"{fix[0].upper()}{fix[1:]}.", id="core.E102") for what, fix in half_set_storage()
    ]
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

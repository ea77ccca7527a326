"""What our processes refuse to start with, each rule under its own id for good, and what is only warned of."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings


@dataclass(frozen=True, slots=True)
class Rule:
    """`what` is so and must not be; `fix` mends it."""

    id: str
    what: str
    fix: str
    is_broken: Callable[[], bool]


def _is_short(name: str) -> Callable[[], bool]:
    return lambda: len(getattr(settings, name)) < 32


def _is_embedded(name: str) -> Callable[[], bool]:
    return lambda: name not in settings.EXTERNAL_SERVERS


def _is_deaf(key: str, webhook_secret: str) -> Callable[[], bool]:
    return lambda: bool(getattr(settings, key)) and not getattr(settings, webhook_secret)


def _short(id: str, name: str) -> Rule:
    what, fix = f"{name} is missing or shorter than 32 characters", f"set {name} to a long random value"
    return Rule(id, what, fix, _is_short(name))


def _missing(id: str, name: str) -> Rule:
    return Rule(id, f"{name} is missing", f"set {name} to your own server's address", _is_embedded(name))


def _deaf(id: str, provider: str, key: str) -> Rule:
    secret = f"{provider}_WEBHOOK_SECRET"
    return Rule(id, f"{provider} has a key but no webhook secret", f"set {secret}", _is_deaf(key, secret))


IN_PRODUCTION = (
    _short("core.E001", "SECRET_KEY"),
    _short("core.E002", "JWT_SECRET"),
    _short("core.E003", "JWT_REFRESH_SECRET"),
    _short("core.E004", "MAILBOX_HASH_KEY"),
    Rule(
        "core.E005",
        "JWT_SECRET and JWT_REFRESH_SECRET are the same",
        "give each its own random value",
        lambda: bool(settings.JWT_SECRET) and settings.JWT_SECRET == settings.JWT_REFRESH_SECRET,
    ),
    _missing("core.E006", "DATABASE_URL"),
    _missing("core.E007", "REDIS_URL"),
    Rule("core.E008", "DEBUG is on", "unset DEBUG", lambda: bool(settings.DEBUG)),
    Rule(
        "core.E009",
        "ALLOWED_HOSTS is empty or open",
        "name the hosts you serve in ALLOWED_HOSTS",
        lambda: not settings.ALLOWED_HOSTS or "*" in settings.ALLOWED_HOSTS,
    ),
    Rule(
        "core.E010",
        "ALLOWED_ORIGINS is open",
        "name the client apps' origins in ALLOWED_ORIGINS",
        lambda: "*" in settings.ALLOWED_ORIGINS,
    ),
    Rule(
        "core.E011",
        "the sandbox is on",
        "unset SANDBOX_ENABLED and the *_BASE_URL settings",
        lambda: settings.SANDBOX_ENABLED or "127.0.0.1" in settings.RAZORPAY_BASE_URL,
    ),
    Rule(
        "core.E012",
        "TRUSTED_PROXIES is empty",
        "set it to your proxies' networks, e.g. 10.0.0.0/8",
        lambda: not settings.TRUSTED_PROXIES,
    ),
    Rule(
        "core.E013",
        "PUBLIC_URL is not https",
        "set PUBLIC_URL to the https address clients reach",
        lambda: not settings.PUBLIC_URL.startswith("https://"),
    ),
    _deaf("core.E014", "RAZORPAY", "RAZORPAY_KEY_ID"),
    _deaf("core.E015", "STRIPE", "STRIPE_SECRET_KEY"),
    _deaf("core.E016", "MAGIC_HOUR", "MAGIC_HOUR_API_KEY"),
    Rule(
        "core.E017",
        "staff sign in without a second factor",
        "unset MFA_REQUIRED",
        lambda: not settings.MFA_REQUIRED,
    ),
    Rule("core.E018", "rate limits are off", "unset RATELIMIT_ENABLE", lambda: not settings.RATELIMIT_ENABLE),
    Rule(
        "core.E019",
        "EMAIL_URL is missing",
        "set EMAIL_URL, e.g. smtp+tls://user:password@mail.example.org:587",
        lambda: not settings.EMAIL_URL,
    ),
    Rule(
        "core.E020",
        "the mail sender has no webhook secret",
        "set EMAIL_WEBHOOK_SECRET to user:password",
        lambda: bool(settings.EMAIL_SENDER) and ":" not in settings.EMAIL_WEBHOOK_SECRET,
    ),
)


def _has_any_bucket_setting() -> bool:
    names = ("S3_BUCKET", "S3_ENDPOINT_URL", "S3_REGION", "S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY")
    return any(getattr(settings, name) for name in names)


def _keys_are_whole() -> bool:
    return bool(settings.S3_ACCESS_KEY_ID) == bool(settings.S3_SECRET_ACCESS_KEY)


# Everywhere: nobody wants files in two places.
ALWAYS = (
    Rule(
        "core.E102",
        "an S3_ setting is set and S3_BUCKET is not",
        "set S3_BUCKET, or unset every S3_ setting",
        lambda: not settings.S3_BUCKET and _has_any_bucket_setting(),
    ),
    Rule(
        "core.E105",
        "S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY belong together",
        "set both, or neither",
        lambda: bool(settings.S3_BUCKET) and not _keys_are_whole(),
    ),
    Rule(
        "core.E106",
        "S3_ENDPOINT_URL has no keys",
        "set S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY",
        lambda: bool(
            settings.S3_BUCKET and settings.S3_ENDPOINT_URL and _keys_are_whole() and not settings.S3_ACCESS_KEY_ID
        ),
    ),
    Rule(
        "core.E107",
        "S3_ENDPOINT_URL is no http(s) address",
        "set it to e.g. https://<account>.r2.cloudflarestorage.com",
        lambda: bool(
            settings.S3_BUCKET
            and settings.S3_ENDPOINT_URL
            and not settings.S3_ENDPOINT_URL.startswith(("http://", "https://"))
        ),
    ),
    Rule(
        "core.E108",
        "S3_REGION is missing",
        "set it to the bucket's region, e.g. eu-central-1",
        lambda: bool(settings.S3_BUCKET and not settings.S3_ENDPOINT_URL and not settings.S3_REGION),
    ),
)

# As other back ends call what we call otherwise. Those of Amazon's own tools are not here: they may be meant for them.
OLD_NAMES = {
    "NODE_ENV": "ENVIRONMENT",
    "BASE_URL": "PUBLIC_URL",
    "CALLBACK_URL": "PUBLIC_URL",
    "DB_HOST": "DATABASE_URL",
    "SUPABASE_URL": "DATABASE_URL",
    "REDIS_HOST": "REDIS_URL",
    "SMTP_HOST": "EMAIL_URL",
    "SMTP_FROM": "DEFAULT_FROM_EMAIL",
    "AWS_S3_BUCKET": "S3_BUCKET",
    "AWS_S3_BUCKET_NAME": "S3_BUCKET",
    "R2_BUCKET_NAME": "S3_BUCKET",
    "R2_ENDPOINT": "S3_ENDPOINT_URL",
    "R2_ACCESS_KEY_ID": "S3_ACCESS_KEY_ID",
    "R2_SECRET_ACCESS_KEY": "S3_SECRET_ACCESS_KEY",
    "ALGORITHM": "JWT_ALGORITHM",
    "JWT_EXPIRES_IN": "ACCESS_TOKEN_MINUTES",
    "JWT_REFRESH_EXPIRES_IN": "REFRESH_TOKEN_MINUTES",
    "ACCESS_TOKEN_LIFETIME": "ACCESS_TOKEN_MINUTES",
    "SHORT_REFRESH_TOKEN_LIFETIME": "REFRESH_TOKEN_MINUTES",
    "LONG_REFRESH_TOKEN_LIFETIME": "REMEMBER_ME_MINUTES",
    "GROK_API_KEY": "XAI_API_KEY",
    "STRIPE_KEY": "STRIPE_SECRET_KEY",
}
_KEYS = {
    "RAZORPAY": "RAZORPAY_KEY_ID",
    "STRIPE": "STRIPE_SECRET_KEY",
    "MONNIFY": "MONNIFY_API_KEY",
    "MAGIC_HOUR": "MAGIC_HOUR_API_KEY",
    "KIE": "KIE_API_KEY",
    "LIVEKIT": "LIVEKIT_API_KEY",
}


def broken() -> list[Rule]:
    """The rules that the settings break, as far as they hold in this environment."""
    return [rule for rule in (*ALWAYS, *(IN_PRODUCTION if settings.PRODUCTION else ())) if rule.is_broken()]


def old_names() -> list[tuple[str, str]]:
    """Variables that are set under another's name and do nothing, as (that name, ours)."""
    return [(old, ours) for old, ours in OLD_NAMES.items() if os.environ.get(old) and not os.environ.get(ours)]


def unreachable() -> list[str]:
    """Real providers that cannot call back, because PUBLIC_URL leads to this machine."""
    if not _is_here(settings.PUBLIC_URL):
        return []
    return [
        provider
        for provider, key in _KEYS.items()
        if getattr(settings, key) and (url := getattr(settings, f"{provider}_BASE_URL")) and not _is_here(url)
    ]


def _is_here(url: str) -> bool:
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")


def refuse() -> None:
    """Stop a web process, worker or beat that breaks a rule.

    Raises: SystemExit naming each problem and its mend in one line.
    """
    if rules := broken():
        raise SystemExit("\n".join(f"Atelier does not start: {rule.what}; {rule.fix}. ({rule.id})" for rule in rules))

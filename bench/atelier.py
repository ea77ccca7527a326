"""Atelier as an operator runs it: production settings, one web process."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from config.embedded import commands

SECRETS = ("SECRET_KEY", "JWT_SECRET", "JWT_REFRESH_SECRET", "MAILBOX_HASH_KEY")

PER_MINUTE = 1_000_000_000  # the general limit: counted, never reached


def production(*, database_url: str, redis_url: str) -> dict[str, str]:
    """The environment of a production that boots, behind a proxy on this machine. Limits are counted, only higher."""
    return {
        "ENVIRONMENT": "production",
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "PUBLIC_URL": "https://atelier.example",
        "ALLOWED_HOSTS": "127.0.0.1",
        "ALLOWED_ORIGINS": "https://app.example",
        "TRUSTED_PROXIES": "127.0.0.0/8",
        "EMAIL_URL": "smtp://127.0.0.1:9",
        "ACCESS_TOKEN_MINUTES": "600",
        "RATE_LIMITS": f"general={PER_MINUTE}/60/user_or_ip",
        **{name: secrets.token_urlsafe(48) for name in SECRETS},
    }


def web(port: int, environment: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """The command of `manage.py up` for the web process, and its environment."""
    from django.conf import settings

    return commands.web(host="127.0.0.1", port=port, threads=settings.WEB_THREADS), dict(environment)

"""System checks of this app's settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

ALGORITHMS = ("HS256", "HS384", "HS512")


@register("accounts")
def check_token_settings(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """The two token secrets must differ, else one kind of token could pass for the other."""
    found: list[CheckMessage] = []
    if settings.JWT_ALGORITHM not in ALGORITHMS:
        found.append(
            Error(
                f"JWT_ALGORITHM is {settings.JWT_ALGORITHM!r}.",
                hint=f"Set it to one of {', '.join(ALGORITHMS)}.",
                id="accounts.E001",
            )
        )
    if settings.JWT_SECRET == settings.JWT_REFRESH_SECRET:
        found.append(
            Error(
                "JWT_SECRET and JWT_REFRESH_SECRET are the same.",
                hint="Give each its own random value, for instance from `openssl rand -base64 48`.",
                id="accounts.E002",
            )
        )
    for name in ("JWT_SECRET", "JWT_REFRESH_SECRET"):
        if len(getattr(settings, name).encode()) < 32:
            found.append(
                Error(
                    f"{name} is shorter than 32 bytes.",
                    hint="Set a random value of 32 bytes or more.",
                    id="accounts.E003",
                )
            )
    return found

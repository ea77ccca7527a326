"""System checks of generation's settings."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from generation import providers
from generation.models import Kind

# Every call that a worker makes under a lease must end well before it lapses.
_LONGEST_CALL_S = 60


@register(Tags.compatibility)
def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """The lease outlives the longest call; every kind has a deadline and a size; intervals make sense."""
    found: list[CheckMessage] = []
    if settings.PRODUCTION and settings.GENERATION_LEASE_S < 2 * _LONGEST_CALL_S:
        found.append(Error(f"Set GENERATION_LEASE_S to at least {2 * _LONGEST_CALL_S}.", id="generation.E001"))
    if settings.GENERATION_POLL_MIN_S > settings.GENERATION_POLL_MAX_S:
        found.append(Error("Set GENERATION_POLL_MIN_S below GENERATION_POLL_MAX_S.", id="generation.E002"))
    for kind in Kind.values:
        if kind not in settings.GENERATION_DEADLINES_S or kind not in settings.OUTPUT_MAX_BYTES:
            found.append(
                Error(f"Give {kind!r} a GENERATION_DEADLINES_S and an OUTPUT_MAX_BYTES.", id="generation.E003")
            )
    if settings.PRODUCTION and not any(providers.is_configured(code) for code in providers.REGISTRY):
        found.append(Warning("No provider has keys: nothing can be ordered.", id="generation.W001"))
    return found

"""System checks of generation's settings."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Info, Tags, Warning, register

from generation import providers
from generation.models import Kind
from generation.providers import photogrammetry

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
    for name in ("MAGIC_HOUR", "KIE", "XAI"):
        # Preparing and submitting are a call each.
        if settings.PRODUCTION and 2 * getattr(settings, f"{name}_TIMEOUT_S") > settings.GENERATION_LEASE_S:
            found.append(Error(f"Set {name}_TIMEOUT_S to at most half of GENERATION_LEASE_S.", id="generation.E004"))
    if settings.PRODUCTION and settings.XAI_SYNC_TIMEOUT_S + 20 > settings.GENERATION_LEASE_S:
        # The lease is renewed between the two, and again for storing what came.
        found.append(Error("Set XAI_SYNC_TIMEOUT_S 20 s below GENERATION_LEASE_S.", id="generation.E005"))
    if settings.PRODUCTION and settings.KIE_API_KEY and not settings.KIE_WEBHOOK_SECRET:
        known = "KIE's callbacks are known by the token in their address alone"
        found.append(Warning(f"Set KIE_WEBHOOK_SECRET: {known}.", id="generation.W002"))
    if settings.PHOTOGRAMMETRY_ENABLED and (lacking := photogrammetry.missing()):
        message = (
            f"3D models are on, and {', '.join(lacking)} is not installed here: no worker for `bulk` may run here."
        )
        found.append(
            Warning(message, hint="make photogrammetry, or PHOTOGRAMMETRY_ENABLED=false", id="generation.W004")
        )
    if settings.PRODUCTION and not any(providers.is_configured(code) for code in providers.REGISTRY):
        found.append(Warning("No provider has keys: nothing can be ordered.", id="generation.W001"))
    return found


@register(Tags.compatibility, deploy=True)
def say_what_is_off(**kwargs: Any) -> list[CheckMessage]:
    """Only `check --deploy` says it: whoever has no use for it should not read of it at every command."""
    if settings.PHOTOGRAMMETRY_ENABLED:
        return []
    return [Info("3D models are off.", hint="make photogrammetry turns them on.", id="generation.I001")]

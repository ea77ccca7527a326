"""System checks of the settings of calls."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register

from calls import terms


@register(Tags.compatibility)
def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """The rate is whole naira under a known strategy, and a call is beaten for more often than it is given up."""
    found: list[CheckMessage] = []
    if settings.CALL_STRATEGY not in terms.Strategy.values:
        known = ", ".join(terms.Strategy.values)
        found.append(Error(f"Set CALL_STRATEGY to one of {known}.", id="calls.E001"))
    if settings.CALL_RATE <= 0 or settings.CALL_RATE % terms.WHOLE:
        found.append(Error("Set CALL_RATE to whole naira, in kobo.", id="calls.E002"))
    if settings.CALL_OPENING_HOLD <= 0 or settings.CALL_OPENING_HOLD % terms.WHOLE:
        found.append(Error("Set CALL_OPENING_HOLD to whole naira, in kobo.", id="calls.E003"))
    if not 0 < settings.CALL_HEARTBEAT_S < settings.CALL_SILENCE_S:
        found.append(Error("Set CALL_HEARTBEAT_S below CALL_SILENCE_S.", id="calls.E004"))
    if min(settings.CALL_SLICE_S, settings.CALL_RING_S) < 1:
        found.append(Error("Set CALL_SLICE_S and CALL_RING_S to a second at least.", id="calls.E005"))
    return found

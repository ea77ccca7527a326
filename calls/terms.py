"""What talking costs: whole naira for seconds, and how many seconds an amount pays for."""

from __future__ import annotations

from django.db import models

UNIT = "NGN"
WALLET = "calls"
WHOLE = 100  # kobo in a naira: a bill has no smaller part


class Strategy(models.TextChoices):
    PER_SECOND = "per_second"
    PER_STARTED_MINUTE = "per_started_minute"


def cost(seconds: int, *, rate: int, strategy: str) -> int:
    """What so many whole seconds cost, rounded up to whole naira.

    Units: kobo, `rate` a minute.
    """
    if strategy == Strategy.PER_STARTED_MINUTE:
        seconds = -(-seconds // 60) * 60
    return -(-seconds * rate // (60 * WHOLE)) * WHOLE


def paid_seconds(amount: int, *, rate: int, strategy: str) -> int:
    """The most whole seconds that cost no more than the amount.

    Units: kobo, `rate` a minute.
    """
    seconds = amount // WHOLE * WHOLE * 60 // rate
    return seconds // 60 * 60 if strategy == Strategy.PER_STARTED_MINUTE else seconds

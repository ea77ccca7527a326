from __future__ import annotations

import pytest
from pytest_django import Settings


@pytest.fixture(autouse=True)
def unlimited(settings: Settings) -> None:
    """Rate limits have their own tests; elsewhere they would only count this machine's address."""
    settings.RATELIMIT_ENABLE = False


@pytest.fixture
def limited(settings: Settings, unlimited: None) -> None:
    """The limits as they are, each counted over a day: no window ends in the middle of a test."""
    settings.RATELIMIT_ENABLE = True
    settings.RATE_LIMITS = {scope: (limit, 86_400, by) for scope, (limit, _, by) in settings.RATE_LIMITS.items()}

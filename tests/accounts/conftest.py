from __future__ import annotations

import pytest
from pytest_django import Settings


@pytest.fixture(autouse=True)
def unlimited(settings: Settings) -> None:
    """Rate limits have their own tests; elsewhere they would only count this machine's address."""
    settings.RATELIMIT_ENABLE = False

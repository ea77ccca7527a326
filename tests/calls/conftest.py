from __future__ import annotations

from typing import Any

import pytest

from accounts.models import User
from tests.calls.given import fund


@pytest.fixture(autouse=True)
def no_rooms(settings: Any) -> None:
    """Calls have no rooms but where a test gives them some."""
    settings.LIVEKIT_BASE_URL = ""


@pytest.fixture
def rich(alice: User) -> User:
    """Alice, with 100 naira to call with."""
    fund(alice, 100)
    return alice

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from accounts.models import User
from calls import metering
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


@pytest.fixture(autouse=True)
def stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The meter stands still: no second passes but where a test lets it, however slow this machine is."""
    now, begun = metering.now, list[datetime]()

    def still() -> datetime:
        if not begun:
            begun.append(now())
        return begun[0]

    monkeypatch.setattr(metering, "now", still)

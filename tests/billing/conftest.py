from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from tests.sandbox.process import KEYS, RunningSandbox, running_sandbox


@pytest.fixture(scope="session")
def _sandbox() -> Iterator[RunningSandbox]:
    # Nothing listens where its webhooks would go: tests hand the logged bodies to our door themselves.
    with running_sandbox(PUBLIC_URL="http://127.0.0.1:9") as running:
        yield running


@pytest.fixture
def sandbox(_sandbox: RunningSandbox, settings: Settings) -> RunningSandbox:
    """A clean sandbox that our settings point at, and no rate limits."""
    _sandbox.clear_faults()
    _sandbox.reset()
    _sandbox.deliver_webhooks(False)
    for name, value in (KEYS | _sandbox.env).items():
        if name.startswith(("RAZORPAY", "STRIPE", "MONNIFY")):
            setattr(settings, name, value)
    settings.RATELIMIT_ENABLE = False
    return _sandbox

"""One sandbox process and one webhook receiver for these tests; each test starts from a clean sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import magic_hour
import pytest
import razorpay
import stripe

from tests.sandbox import portraits
from tests.sandbox.process import RunningSandbox, running_sandbox
from tests.sandbox.receiver import Receiver, running_receiver


@pytest.fixture(scope="session")
def receiving() -> Iterator[Receiver]:
    with running_receiver() as receiver:
        yield receiver


@pytest.fixture(scope="session")
def started(receiving: Receiver) -> Iterator[RunningSandbox]:
    with running_sandbox(PUBLIC_URL=receiving.url) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(started: RunningSandbox, receiving: Receiver) -> RunningSandbox:
    started.reset()
    receiving.clear()
    return started


@pytest.fixture
def receiver(sandbox: RunningSandbox, receiving: Receiver) -> Receiver:
    return receiving


@pytest.fixture
def gateway(sandbox: RunningSandbox) -> razorpay.Client:
    """Razorpay's official SDK."""
    keys = (sandbox.keys["RAZORPAY_KEY_ID"], sandbox.keys["RAZORPAY_KEY_SECRET"])
    return razorpay.Client(auth=keys, base_url=sandbox.razorpay_url)


@pytest.fixture
def bank(sandbox: RunningSandbox) -> stripe.StripeClient:
    """Stripe's official SDK."""
    return stripe.StripeClient(
        sandbox.keys["STRIPE_SECRET_KEY"], base_addresses={"api": sandbox.stripe_url}, max_network_retries=0
    )


@pytest.fixture
def studio(sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> magic_hour.Client:
    """Magic Hour's official SDK."""
    monkeypatch.setenv("MAGIC_HOUR_POLL_INTERVAL", "0.02")
    return magic_hour.Client(token=sandbox.keys["MAGIC_HOUR_API_KEY"], base_url=sandbox.magic_hour_url, timeout=60)


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "person.jpg"
    portraits.draw(1, (480, 640)).save(path)
    return path

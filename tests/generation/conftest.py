"""The sandbox as a process, settings quick enough for a test, and people with credits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from accounts.models import User
from core import http
from generation.engine import throughput
from tests.generation.material import fund, jpeg
from tests.sandbox.process import RunningSandbox, running_sandbox


@pytest.fixture(scope="session")
def sandbox_process() -> Iterator[RunningSandbox]:
    with running_sandbox(SANDBOX_SLOW_S="2", SANDBOX_LATE_S="4") as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(sandbox_process: RunningSandbox, settings: Any) -> RunningSandbox:
    """The providers' sandbox, fresh, its webhooks dropped: tests hand them over themselves."""
    sandbox_process.reset()
    sandbox_process.deliver_webhooks(False)
    settings.MAGIC_HOUR_BASE_URL = sandbox_process.magic_hour_url
    settings.MAGIC_HOUR_API_KEY = sandbox_process.keys["MAGIC_HOUR_API_KEY"]
    settings.MAGIC_HOUR_WEBHOOK_SECRET = sandbox_process.keys["MAGIC_HOUR_WEBHOOK_SECRET"]
    settings.KIE_BASE_URL = settings.KIE_UPLOAD_BASE_URL = sandbox_process.kie_url
    settings.KIE_API_KEY = sandbox_process.keys["KIE_API_KEY"]
    settings.KIE_WEBHOOK_SECRET = sandbox_process.keys["KIE_WEBHOOK_SECRET"]
    settings.XAI_BASE_URL = sandbox_process.xai_url
    settings.XAI_API_KEY = sandbox_process.keys["XAI_API_KEY"]
    return sandbox_process


@pytest.fixture(autouse=True)
def quick(settings: Any, tmp_path: Path) -> Any:
    """Everything that waits, waits briefly; files go to the test's own folder."""
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.PHOTOGRAMMETRY_DIR = tmp_path / "workshop"
    settings.GENERATION_POLL_MIN_S = 0.05
    settings.GENERATION_POLL_MAX_S = 0.2
    settings.GENERATION_LEASE_S = 60
    settings.MAGIC_HOUR_TIMEOUT_S = 20
    settings.XAI_TIMEOUT_S = settings.XAI_SYNC_TIMEOUT_S = 20
    settings.MAGIC_HOUR_RESOLVE_S = 0.5
    settings.KIE_TIMEOUT_S = 20
    settings.KIE_RESOLVE_S = 0.5
    settings.PROVIDER_RATES = {}
    throughput._away_until = 0.0
    return settings


@pytest.fixture
def rich(alice: User) -> User:
    """Alice, with 105 credits."""
    fund(alice, 100)
    return alice


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """No sandbox is at a public https address: customers' pictures come from here."""
    fetch = http.fetch

    def stand_in(url: str, to: IO[bytes], **options: Any) -> Any:
        return fetch(url, to, **options) if options.get("trusted_origin") else to.write(jpeg())

    monkeypatch.setattr(http, "fetch", stand_in)

"""The product running on the test's own database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.shop import Shop
from tests.scenarios.stack import Stack


@pytest.fixture
def stack(transactional_db: None, tmp_path: Path, database_url: str, redis_url: str, request: Any) -> Iterator[Stack]:
    """Web, worker, beat and sandbox, each a process; a test may add settings by indirect parameters."""
    running = Stack(tmp_path, database_url=database_url, redis_url=redis_url, **getattr(request, "param", {}))
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    """The product on servers of its own, shared by the tests of one file."""
    running = Shop()
    try:
        yield running
    finally:
        running.close()

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.run.checkout import Checkout


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Checkout]:
    """A fresh checkout in a folder with a space in it."""
    made = Checkout(tmp_path / "a checkout")
    yield made
    made.end()


@pytest.fixture
def checkout(fresh: Checkout) -> Checkout:
    """The same with a migrated database, as after the first time."""
    fresh.furnish()
    return fresh

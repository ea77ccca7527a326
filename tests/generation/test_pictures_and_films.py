"""Pictures at xAI and films at xAI and KIE, through the engine and the sandbox: made, treated, stored, paid."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.models import User
from billing import ledger
from core import storage
from generation.models import Generation, Kind, State
from tests import books
from tests.generation.material import fund, order_of, run_until
from tests.sandbox.process import RunningSandbox

PROMPT = "A paper boat on a quiet lake"


@pytest.mark.parametrize(
    ("kind", "asked", "price", "shape", "seconds"),
    [
        (Kind.IMAGE, {"count": 2, "size": "1920x1080", "quality": "hd"}, 23, (1920, 1080), None),
        (Kind.VIDEO, {"duration": 20, "with_audio": False}, 60, None, 20),
        (Kind.VIDEO, {"operation": "video.kie", "duration": 8, "triggers": ["soap"]}, 30, None, 8),
    ],
    ids=["pictures", "long film", "trimmed film"],
)
def test_what_was_ordered_is_what_is_stored(
    rich: User,
    sandbox: RunningSandbox,
    kind: Kind,
    asked: dict[str, Any],
    price: int,
    shape: tuple[int, int] | None,
    seconds: int | None,
) -> None:
    fund(rich, 100)

    job: Generation = run_until(order_of(rich, kind, prompt=PROMPT, **asked))

    assert (job.state, job.price, job.error_message) == (State.SUCCEEDED, price, "")
    assets = list(job.assets.select_related("file", "thumbnail"))
    assert len(assets) == asked.get("count", 1)
    for asset in assets:
        assert asset.file is not None
        assert storage.exists(asset.file.key)
        assert asset.thumbnail is not None
        assert shape in (None, (asset.width, asset.height))
        assert seconds is None or abs((asset.duration_s or 0) - seconds) <= 0.1
    assert job.stage == (2 if asked.get("duration") == 20 else 1)
    assert ledger.balance(rich.pk).balance == 205 - price
    books.check()

"""A headshot from order to picture, and one that comes too late."""

from __future__ import annotations

import io
import re
from typing import Any

from PIL import Image

from accounts.models import User
from audit.models import AuditLog
from billing import ledger
from core import storage
from generation.models import Outcome, State
from notifications.models import Mail
from tests import books
from tests.generation.material import advance, order, run_until, until
from tests.people import api
from tests.sandbox.process import RunningSandbox
from tests.stores import fetch


def test_a_headshot_is_made_stored_and_paid_once(rich: User, sandbox: RunningSandbox, store: str) -> None:
    job = order(rich, style_prompt="warm light", name="Me")
    assert ledger.balance(rich.pk).held == 50

    run_until(job)

    assert (job.state, job.progress, job.next_at, job.lease_token) == (State.SUCCEEDED, 100, None, None)
    asset = job.assets.get()
    with storage.open(asset.file.key) as file:
        picture = Image.open(io.BytesIO(file.read()))
        picture.load()
    assert picture.size == (asset.width, asset.height)
    assert asset.content_type == "image/png"
    with storage.open(asset.thumbnail.key) as file:
        assert max(Image.open(file).size) <= 512
    assert re.fullmatch(rf"content/{rich.pk}/image_{job.pk}_\d{{8}}T\d{{6}}Z_[0-9a-f-]{{36}}\.png", asset.file.key)
    assert asset.thumbnail.key == asset.file.key.replace(".png", "_thumbnail.jpg")
    shown = api(rich).get(f"/api/v1/generations/{job.pk}").json()["outputs"][0]
    assert [fetch(shown[name])[0] for name in ("url", "thumbnail_url")] == [200, 200]
    saved = fetch(api(rich).get(f"/api/v1/generations/{job.pk}/download")["Location"])
    assert f"headshot-{job.pk}.png" in saved[2]["content-disposition"]
    balance = ledger.balance(rich.pk)
    assert (balance.balance, balance.held) == (55, 0)
    attempt = job.attempts.get()
    assert attempt.outcome == Outcome.SUCCEEDED
    assert attempt.provider_cost == 50
    assert attempt.latency_ms is not None
    mail = Mail.objects.get(name="headshot-generated")
    assert mail.cause == f"generation:{job.pk}:1"
    actions = list(AuditLog.objects.filter(entity_id=str(job.pk)).order_by("id").values_list("action", flat=True))
    assert actions == [
        "generation.created",
        "credits.held",
        "generation.submitted",
        "credits.captured",
        "generation.succeeded",
    ]
    books.check()


def test_one_that_is_late_is_released_and_its_picture_deleted_there(
    rich: User, sandbox: RunningSandbox, settings: Any
) -> None:
    settings.GENERATION_DEADLINES_S = {"headshot": 1}
    job = order(rich, style_prompt="sandbox:late")

    run_until(job)
    assert (job.state, job.error_code) == (State.FAILED, "deadline_exceeded")
    attempt = job.attempts.get()
    assert attempt.outcome == Outcome.ABANDONED
    assert attempt.discard_at is not None

    def discarded() -> bool:
        advance()
        attempt.refresh_from_db()
        return attempt.discarded_at is not None

    until(discarded, "the late picture is deleted at the provider")
    assert attempt.provider_cost == 50
    job.refresh_from_db()
    assert job.state == State.FAILED
    assert ledger.balance(rich.pk).available == 105
    assert [r for r in sandbox.requests() if r["method"] == "DELETE"]
    books.check()

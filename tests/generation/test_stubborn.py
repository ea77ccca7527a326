"""Rows that cannot be worked on stay where they are, and keep nothing else from going on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from accounts.models import User
from billing import ledger
from core import storage
from core.files import remove_expired
from core.models import StoredObject
from generation.engine import doubts, moves
from generation.engine.advance import advance
from generation.engine.submit import _start
from generation.models import Generation, State
from generation.providers.base import Order
from tests import books
from tests.generation.material import order, photo_of, run_until, sweep
from tests.sandbox.process import RunningSandbox

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_job_that_cannot_be_ended_does_not_keep_the_others_open(rich: User, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = photo_of(rich)
    stubborn, other = order(rich, photo), order(rich, photo)
    Generation.objects.filter(pk=stubborn.pk).update(deadline_at=Now() - timedelta(seconds=2))
    Generation.objects.filter(pk=other.pk).update(deadline_at=Now() - timedelta(seconds=1))
    real = ledger.release_all

    def release_all(keys: Sequence[str]) -> None:
        real(keys)
        if stubborn.hold_key in keys:
            raise RuntimeError("its books are wrong")

    monkeypatch.setattr(ledger, "release_all", release_all)
    sweep()

    other.refresh_from_db()
    assert other.state == State.FAILED
    monkeypatch.undo()
    sweep()
    stubborn.refresh_from_db()
    assert stubborn.state == State.FAILED
    books.check()


def test_a_doubt_that_cannot_be_settled_does_not_stop_the_engine(rich: User, sandbox: RunningSandbox) -> None:
    photo = photo_of(rich)
    strange = order(rich, photo)
    token, (claimed,) = moves.claim(State.QUEUED, 1)
    assert _start(claimed, token, Order("at_" + "0" * 32, "headshot", "m", {}), {}) is not None
    Generation.objects.filter(pk=strange.pk).update(provider="forgotten", lease_until=Now() - timedelta(seconds=1))
    other = order(rich, photo)

    assert doubts.settle() == 0
    run_until(other)
    advance()

    assert other.state == State.SUCCEEDED
    strange.refresh_from_db()
    assert strange.state == State.SUBMITTING
    Generation.objects.filter(pk=strange.pk).update(deadline_at=Now())
    sweep()
    strange.refresh_from_db()
    assert strange.state == State.FAILED
    books.check()


def test_a_file_that_cannot_be_deleted_does_not_keep_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    stuck, other = (
        StoredObject.objects.create(key=f"photos/{name}.jpg", expires_at=Now() - timedelta(hours=1))
        for name in ("stuck", "other")
    )

    def delete(key: str) -> None:
        if key == stuck.key:
            raise PermissionError(key)

    monkeypatch.setattr(storage, "delete", delete)

    assert remove_expired() == 1

    assert list(StoredObject.objects.values_list("pk", flat=True)) == [stuck.pk]
    assert remove_expired() == 0  # it is not tried again at once
    assert not StoredObject.objects.filter(pk=other.pk).exists()

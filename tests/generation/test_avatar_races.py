"""An avatar deleted beside what makes it: whoever comes second finds a whole world, and nothing is left over."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now

from accounts.models import User
from billing import ledger
from core import storage
from core.errors import Conflict
from core.models import StoredObject
from generation import avatars, jobs, profiles
from generation.engine import finish, store
from generation.engine.advance import advance
from generation.errors import TooLateToCancel
from generation.models import Asset, Avatar, Generation, Outcome, State
from generation.providers.base import Order, Submitted
from notifications.models import Mail
from tests import books
from tests.generation.material import avatar_of, fund, in_parallel, run_until, sweep, until
from tests.generation.scripted import Play, install, made
from tests.people import make_user

pytestmark = pytest.mark.django_db(transaction=True)

PROFILE = {name: f"her {name}" for name in profiles.TEXTS} | {"content_themes": ["travel"], "age_range": "40-49"}


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch, transactional_db: None) -> Play:
    play = install(monkeypatch)
    play.answers = [made(profile=PROFILE)]
    return play


@pytest.fixture
def owner(play: Play) -> User:
    user = make_user()
    fund(user, 95)
    return user


@pytest.fixture(params=["the first face", "another face"])
def avatar(request: Any, owner: User) -> Avatar:
    """One whose first, or next, face is being made."""
    avatar = avatar_of(owner)
    if request.param == "another face":
        run_until(avatar.generation)
        avatars.regenerate_thumbnail(user=owner, avatar_id=avatar.pk)
    return avatar


def making(avatar: Avatar) -> Generation:
    """The job that makes a face of it now."""
    return Generation.objects.filter(avatar=avatar).latest("created_at", "id")


def is_deleted(avatar: Avatar) -> bool:
    return Avatar.objects.exclude(deleted_at=None).filter(pk=avatar.pk).exists()


def somebody_waits() -> bool:
    with connection.cursor() as cursor:
        # of our database's: other workers have theirs on the same server; a transaction sees them as they first were
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return bool(cursor.fetchone()[0])


def assert_nothing_is_left_over(owner: User, paid: int) -> None:
    """What is in the storage is what assets show; credits and mails fit the jobs."""
    StoredObject.objects.exclude(expires_at=None).update(expires_at=Now())
    sweep()
    shown = {key for pair in Asset.objects.values_list("file__key", "thumbnail__key") for key in pair if key}
    assert set(StoredObject.objects.values_list("key", flat=True)) == shown
    assert all(storage.exists(key) for key in shown)
    assert (ledger.balance(owner.pk).balance, ledger.balance(owner.pk).held) == (100 - paid, 0)
    assert Mail.objects.filter(cause__startswith="generation:").count() == Generation.objects.count()
    books.check()


def meet(
    monkeypatch: pytest.MonkeyPatch, where: Any, point: str, first: Callable[[], Any], second: Callable[[], Any]
) -> Any:
    """Let the second wait for a lock that the first holds at the point; what the second has to say."""
    is_there = threading.Event()

    def reach(name: str) -> None:
        if name == point and not is_there.is_set():
            is_there.set()
            until(somebody_waits, "the other waits")

    def after() -> Any:
        assert is_there.wait(150)
        return second()

    monkeypatch.setattr(where, "reach", reach)
    return in_parallel(first, after)[1]


def test_deleted_while_it_is_settled_it_was_made_and_is_gone(
    owner: User, avatar: Avatar, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = meet(
        monkeypatch,
        finish,
        "generation.finish.decided",
        lambda: advance("providers_sync"),
        lambda: avatars.delete(user=owner, avatar_id=avatar.pk),
    )

    assert said is None
    assert is_deleted(avatar)
    assert (making(avatar).state, making(avatar).assets.count()) == (State.SUCCEEDED, 1)
    assert_nothing_is_left_over(owner, sum(Generation.objects.values_list("price", flat=True)))


def test_deleted_while_the_provider_makes_it_nothing_is_kept_or_paid(owner: User, avatar: Avatar, play: Play) -> None:
    before = ledger.balance(owner.pk).balance

    def answer(order: Order) -> Submitted:
        try:
            avatars.delete(user=owner, avatar_id=avatar.pk)
        finally:
            connection.close()
        return made(profile=PROFILE)

    play.answers = [answer]
    play.orders.clear()
    advance("providers_sync")

    job = making(avatar)
    assert is_deleted(avatar)
    assert (job.state, job.assets.count()) == (State.CANCELED, 0)
    attempt = job.attempts.get()
    assert (attempt.outcome, attempt.made, str(attempt.provider_cost)) == (Outcome.ABANDONED, {}, "0.020000")
    assert_nothing_is_left_over(owner, 100 - before)


def test_deleted_while_it_is_stored_it_stays(owner: User, avatar: Avatar, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Exception] = []

    def reach(name: str) -> None:
        if name == "generation.store.intended":
            try:
                avatars.delete(user=owner, avatar_id=avatar.pk)
            except TooLateToCancel as refusal:
                said.append(refusal)

    monkeypatch.setattr(store, "reach", reach)
    advance("providers_sync")

    assert len(said) == 1
    assert not is_deleted(avatar)
    assert making(avatar).state == State.SUCCEEDED
    assert_nothing_is_left_over(owner, sum(Generation.objects.values_list("price", flat=True)))


def test_another_face_ordered_during_the_deletion_is_not_forgotten(
    owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    avatar = avatar_of(owner)
    run_until(avatar.generation)

    said = meet(
        monkeypatch,
        jobs,
        "generation.jobs.created",
        lambda: avatars.regenerate_thumbnail(user=owner, avatar_id=avatar.pk),
        lambda: avatars.delete(user=owner, avatar_id=avatar.pk),
    )

    assert isinstance(said, Conflict)
    assert not is_deleted(avatar)
    avatars.delete(user=owner, avatar_id=avatar.pk)
    assert is_deleted(avatar)
    assert making(avatar).state == State.CANCELED
    assert_nothing_is_left_over(owner, 10)

"""Threads on every lock: whoever changes the job's row has decided, everybody else does nothing."""

from __future__ import annotations

import uuid
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db.models.functions import Now

from accounts.models import User
from billing import ledger
from billing.errors import InsufficientCredits
from billing.models import Hold, LedgerTransaction
from core.models import StoredObject
from generation import jobs
from generation.engine import moves, scripts, store
from generation.engine.advance import advance
from generation.errors import CancelLimitReached, TooLateToCancel
from generation.models import Asset, Attempt, Generation, State
from generation.webhooks import handle_magic_hour
from notifications.models import Mail
from tests import books
from tests.generation.material import drive, fund, in_parallel, order, photo_of, run_until, sweep, until
from tests.people import api, make_user
from tests.sandbox.process import RunningSandbox

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def owner(transactional_db: None) -> User:
    user = make_user()
    fund(user, 95)
    assert ledger.balance(user.pk).available == 100
    return user


def spends() -> int:
    return LedgerTransaction.objects.filter(kind="spend").count()


def ready(user: User, sandbox: RunningSandbox) -> Generation:
    """A running job whose picture is ready at the provider."""
    job = run_until(order(user), State.RUNNING)
    until(lambda: any("image.completed" in d["body"] for d in sandbox.deliveries()), "the picture is ready")
    Generation.objects.filter(pk=job.pk).update(next_at=Now())
    job.refresh_from_db()
    return job


def test_twenty_orders_at_once_on_100_credits_are_two(owner: User, settings: Any) -> None:
    settings.MAGIC_HOUR_API_KEY = "mhk_test"
    photo = photo_of(owner)

    found = in_parallel(*[partial(order, owner, photo)] * 20)

    assert sum(isinstance(answer, Generation) for answer in found) == 2
    assert sum(isinstance(answer, InsufficientCredits) for answer in found) == 18
    assert Generation.objects.count() == Hold.objects.filter(state="open").count() == 2
    assert ledger.balance(owner.pk).available == 0
    books.check()


def test_twenty_requests_at_once_over_http(owner: User, settings: Any) -> None:
    settings.MAGIC_HOUR_API_KEY = "mhk_test"
    settings.RATELIMIT_ENABLE = False
    photo, client = photo_of(owner), api(owner)
    body = {"photo": str(photo.pk), "consent": True}

    def ask() -> int:
        """Ask again as told to: on a busy machine the nineteenth waits longer for the wallet than a request may."""
        key = {"Idempotency-Key": uuid.uuid4().hex}

        def once() -> int:
            answer = client.post("/api/v1/headshots", body, format="json", headers=key)
            return 0 if answer.status_code == 409 and answer.json()["error"] == "conflict" else answer.status_code

        return until(once, "an answer")

    assert sorted(in_parallel(*[ask] * 20)) == [202] * 2 + [402] * 18
    books.check()


def test_the_same_request_twenty_times_at_once_is_one_job(owner: User, settings: Any) -> None:
    settings.MAGIC_HOUR_API_KEY = "mhk_test"
    settings.RATELIMIT_ENABLE = False
    photo, client = photo_of(owner), api(owner)
    body = {"photo": str(photo.pk), "consent": True}

    def ask() -> Any:
        answer = client.post("/api/v1/headshots", body, format="json", headers={"Idempotency-Key": "one"})
        return answer.status_code, answer.json().get("id")

    found = in_parallel(*[ask] * 20)

    assert {status for status, _ in found} <= {202, 409}
    assert len({id for status, id in found if status == 202}) == 1
    assert Generation.objects.count() == 1
    books.check()


def test_many_passes_at_once_make_one_attempt_and_one_capture(owner: User, sandbox: RunningSandbox) -> None:
    one, two = order(owner), order(owner)

    def both_ended() -> bool:
        in_parallel(*[advance] * 4, sweep)
        return not Generation.objects.open().exists()

    until(both_ended, "both jobs end")

    for job in (one, two):
        job.refresh_from_db()
        assert job.state == State.SUCCEEDED
        assert job.attempts.count() == 1
        assert job.assets.count() == 1
    assert spends() == 2
    assert Mail.objects.filter(name="headshot-generated").count() == 2
    assert len([r for r in sandbox.requests() if r["path"] == "/v1/ai-headshot-generator"]) == 2
    books.check()


def test_two_workers_that_store_the_same_job_settle_it_once(
    owner: User, sandbox: RunningSandbox, settings: Any
) -> None:
    """The first is slow, its lease lapses, a second takes over; both fetch and store, one settles."""
    job = ready(owner, sandbox)
    Generation.objects.filter(pk=job.pk).update(state=State.STORING)
    first_token, (first,) = moves.claim(State.STORING, 1)
    slow = store.script(first, first_token)
    call = next(slow)
    Generation.objects.filter(pk=job.pk).update(lease_until=Now() - timedelta(seconds=1))
    second_token, (second,) = moves.claim(State.STORING, 1)
    quick = store.script(second, second_token)

    in_parallel(partial(drive, slow, call), partial(drive, quick))

    job.refresh_from_db()
    assert job.state == State.SUCCEEDED
    assert spends() == 1
    asset = Asset.objects.get()
    assert str(second_token) in asset.file.key
    StoredObject.objects.filter(expires_at__isnull=False).update(expires_at=Now())
    sweep()
    left = {path.name for path in (settings.MEDIA_ROOT / "content").rglob("*.*")}
    assert left == {asset.file.key.rsplit("/", 1)[1], asset.thumbnail.key.rsplit("/", 1)[1]}
    books.check()


@pytest.mark.parametrize("_round", range(3))
def test_cancel_against_store(owner: User, sandbox: RunningSandbox, _round: int) -> None:
    job = ready(owner, sandbox)

    _, canceled = in_parallel(advance, partial(jobs.cancel, user=owner, job_id=job.pk))
    run_until(job)

    if isinstance(canceled, TooLateToCancel):
        assert (job.state, spends(), Asset.objects.count()) == (State.SUCCEEDED, 1, 1)
    else:
        assert (job.state, spends(), Asset.objects.count()) == (State.CANCELED, 0, 0)
        assert ledger.balance(owner.pk).available == 100
    assert Mail.objects.filter(cause=f"generation:{job.pk}:1").count() == 1
    books.check()


@pytest.mark.parametrize("_round", range(3))
def test_deadline_against_success(owner: User, sandbox: RunningSandbox, _round: int) -> None:
    job = ready(owner, sandbox)
    Generation.objects.filter(pk=job.pk).update(deadline_at=Now() + timedelta(milliseconds=60))

    def sweeping() -> None:
        until(lambda: sweep() or not Generation.objects.open().exists(), "it ends")

    in_parallel(advance, sweeping, sweeping)
    run_until(job)

    assert spends() == Asset.objects.count() == (1 if job.state == State.SUCCEEDED else 0)
    assert job.state in (State.SUCCEEDED, State.FAILED)
    books.check()


def test_five_cancels_of_one_job_are_one(owner: User, sandbox: RunningSandbox) -> None:
    job = run_until(order(owner, style_prompt="sandbox:slow"), State.RUNNING)

    found = in_parallel(*[partial(jobs.cancel, user=owner, job_id=job.pk)] * 5)

    assert [answer.state for answer in found] == [State.CANCELED] * 5
    assert Mail.objects.filter(name="headshot-failed").count() == 1
    assert ledger.balance(owner.pk).available == 100
    books.check()


def test_the_last_late_cancel_is_taken_once(owner: User, sandbox: RunningSandbox, settings: Any) -> None:
    settings.GENERATION_LATE_CANCELS_PER_DAY = 1
    started = [run_until(order(owner, style_prompt="sandbox:slow"), State.RUNNING) for _ in range(2)]

    found = in_parallel(*[partial(jobs.cancel, user=owner, job_id=job.pk) for job in started])

    assert sorted(type(answer).__name__ for answer in found) == ["CancelLimitReached", "Generation"]
    assert any(isinstance(answer, CancelLimitReached) for answer in found)
    books.check()


def test_a_photo_is_not_deleted_under_a_new_job(owner: User, settings: Any) -> None:
    from core import storage
    from generation import photos

    settings.MAGIC_HOUR_API_KEY = "mhk_test"
    for _ in range(4):
        photo = photo_of(owner)
        key = photo.file.key

        ordered, _ = in_parallel(partial(order, owner, photo), partial(photos.delete, user=owner, photo_id=photo.pk))
        sweep()

        if isinstance(ordered, Generation):
            assert storage.exists(key)
            jobs.cancel(user=owner, job_id=ordered.pk)
            sweep()
        assert not storage.exists(key)
    books.check()


def test_fifty_copies_of_a_callback_at_once_make_one_end(owner: User, sandbox: RunningSandbox) -> None:
    job = ready(owner, sandbox)
    event = {"type": "image.completed", "payload": {"id": job.attempt.provider_job_id, "name": None}}

    in_parallel(*[partial(handle_magic_hour, event, stale=False)] * 10, advance, advance)
    run_until(job)

    assert job.state == State.SUCCEEDED
    assert (spends(), Asset.objects.count(), Attempt.objects.count()) == (1, 1, 1)
    books.check()


def test_claims_never_hand_out_a_row_twice(owner: User, settings: Any) -> None:
    settings.MAGIC_HOUR_API_KEY = "mhk_test"
    fund(owner, 2000)
    photo = photo_of(owner)
    ids = {order(owner, photo).pk for _ in range(30)}

    found = in_parallel(*[partial(moves.claim, State.QUEUED, 7)] * 6)

    claimed = [job.pk for _, batch in found for job in batch]
    assert len(claimed) == len(set(claimed))
    assert set(claimed) <= ids
    rest = moves.claim(State.QUEUED, 100)[1]
    assert {*claimed, *(job.pk for job in rest)} == ids


def test_one_broken_script_leaves_the_others_alone(owner: User) -> None:
    done: list[int] = []

    def script(n: int) -> scripts.Script:
        if n == 1:
            raise RuntimeError("broken before its first call")
        answer = yield lambda: n * 2
        if n == 2:
            raise RuntimeError("broken in between")
        try:
            yield partial(_fail, n)
        except ZeroDivisionError:
            done.append(answer)

    scripts.run(script(n) for n in range(6))

    assert sorted(done) == [0, 6, 8, 10]


def _fail(n: int) -> None:
    raise ZeroDivisionError(n)

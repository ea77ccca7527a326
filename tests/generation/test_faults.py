"""Providers that refuse, hang, lie, or go away; workers that die; clocks that differ. Nothing is lost or paid twice."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.db.models.functions import Now

from accounts.models import User
from billing import ledger
from core import redis
from core.models import StoredObject
from generation import jobs
from generation.engine import moves, poll, store, submit, throughput
from generation.engine.advance import advance
from generation.models import Asset, Attempt, Generation, Kind, Operation, Outcome, State
from tests import books
from tests.generation.material import drive, lapse, order, photo_of, run_until, sweep, until
from tests.sandbox.process import RunningSandbox
from tests.stores import go_away

CREATE = "/v1/ai-headshot-generator"


def starts(sandbox: RunningSandbox) -> int:
    return len([r for r in sandbox.requests() if r["path"] == CREATE and r["status"] == 200])


def fresh(job: Generation) -> Generation:
    job.refresh_from_db()
    return job


def test_a_refused_connection_is_resent_freely(rich: User, sandbox: RunningSandbox, settings: Any) -> None:
    working = settings.MAGIC_HOUR_BASE_URL
    settings.MAGIC_HOUR_BASE_URL = "http://127.0.0.1:1/magic-hour"
    job = order(rich)
    for _ in range(3):
        advance()
    job.refresh_from_db()
    assert (job.state, job.unknown, job.was_submitted) == (State.QUEUED, False, False)
    assert not job.attempts.exists()  # it did not even get to the upload

    settings.MAGIC_HOUR_BASE_URL = working
    run_until(job)

    assert job.state == State.SUCCEEDED
    assert starts(sandbox) == 1
    books.check()


def test_one_that_can_never_be_sent_is_released_at_the_deadline(
    rich: User, sandbox: RunningSandbox, settings: Any
) -> None:
    settings.MAGIC_HOUR_BASE_URL = "http://127.0.0.1:1/magic-hour"
    settings.GENERATION_DEADLINES_S = {"headshot": 1}
    job = order(rich)

    run_until(job)

    assert (job.state, job.error_code) == (State.FAILED, "provider_unavailable")
    assert ledger.balance(rich.pk).available == 105
    books.check()


@pytest.mark.parametrize("mode", ["429", "500", "503"])
def test_a_passing_refusal_is_tried_again(rich: User, sandbox: RunningSandbox, mode: str) -> None:
    sandbox.fault("magic-hour", mode, path=CREATE)
    job = run_until(order(rich))

    assert job.state == State.SUCCEEDED
    assert [a.outcome for a in job.attempts.order_by("n")] == [Outcome.NOT_STARTED, Outcome.SUCCEEDED]
    assert starts(sandbox) == 1
    books.check()


@pytest.mark.parametrize("mode", ["400", "404"])
def test_a_verdict_on_the_order_ends_it(rich: User, sandbox: RunningSandbox, mode: str) -> None:
    sandbox.fault("magic-hour", mode, path=CREATE)
    job = run_until(order(rich))

    assert (job.state, job.error_code) == (State.FAILED, "provider_rejected")
    assert job.attempts.get().outcome == Outcome.FAILED
    assert ledger.balance(rich.pk).available == 105
    books.check()


@pytest.mark.parametrize("mode", ["401", "403"])
def test_a_refused_account_ends_it_at_once_and_opens_the_breaker(
    rich: User, sandbox: RunningSandbox, mode: str
) -> None:
    sandbox.fault("magic-hour", mode, path=CREATE)
    job = run_until(order(rich))

    assert (job.state, job.error_code) == (State.FAILED, "provider_unavailable")
    assert throughput.is_open("magic-hour")
    books.check()


@pytest.mark.parametrize("mode", ["refuse", "hang", "truncated", "wrongtype"])
def test_no_usable_answer_is_unknown_and_resent_once(
    rich: User, sandbox: RunningSandbox, settings: Any, mode: str
) -> None:
    patience_s = settings.MAGIC_HOUR_TIMEOUT_S
    settings.MAGIC_HOUR_TIMEOUT_S = 0.7 if mode == "hang" else patience_s
    sandbox.fault("magic-hour", mode, path=CREATE, when="after")
    job = run_until(order(rich), State.SUBMITTING)
    assert job.unknown
    assert ledger.balance(rich.pk).held == 50
    settings.MAGIC_HOUR_TIMEOUT_S = patience_s

    run_until(job)

    assert job.state == State.SUCCEEDED
    assert [a.outcome for a in job.attempts.order_by("n")] == [Outcome.UNKNOWN, Outcome.SUCCEEDED]
    assert ledger.balance(rich.pk).balance == 55
    books.check()


@pytest.mark.parametrize(
    ("mode", "path"), [("500", "/v1/files/"), ("hang", "/v1/files/"), ("500", "/uploads/"), ("refuse", "/uploads/")]
)
def test_a_failed_upload_starts_nothing(
    rich: User, sandbox: RunningSandbox, settings: Any, mode: str, path: str
) -> None:
    patience_s = settings.MAGIC_HOUR_TIMEOUT_S
    settings.MAGIC_HOUR_TIMEOUT_S = 0.7 if mode == "hang" else patience_s
    sandbox.fault("magic-hour", mode, path=path)
    job = order(rich)
    advance()
    assert starts(sandbox) == 0
    settings.MAGIC_HOUR_TIMEOUT_S = patience_s
    run_until(job)

    assert job.state == State.SUCCEEDED
    assert job.attempts.count() == 1
    assert starts(sandbox) == 1


@pytest.mark.parametrize(("operation", "store"), [("headshot", "folder"), ("video.kie", "bucket")])
def test_our_own_storage_away_is_waited_for_and_blames_nobody(
    rich: User, sandbox: RunningSandbox, settings: Any, operation: str, store: str, request: pytest.FixtureRequest
) -> None:
    if store == "bucket":
        request.getfixturevalue("bucket")
    kind = Kind(Operation.objects.get(code=operation).kind)
    params = {"prompt": "A paper boat"} if kind == Kind.VIDEO else {}
    asked = jobs.Request(kind, operation, params, [photo_of(rich).pk], consent=True)
    job, late = (jobs.create(user=rich, request=asked) for _ in range(2))
    where = settings.STORAGES, settings.MEDIA_ROOT
    go_away(store, settings)

    for tries in range(1, 8):
        until(lambda n=tries: advance() and fresh(job).step == f"reading {n}", "the photo was asked for again")
        assert (job.state, job.lease_token) == (State.QUEUED, None)
    Generation.objects.filter(pk=late.pk).update(deadline_at=Now())
    sweep()

    assert (fresh(late).state, late.error_code) == (State.FAILED, "photo_unavailable")
    assert not Attempt.objects.exists()
    assert not sandbox.requests()
    assert not throughput.is_open(job.provider)
    settings.STORAGES, settings.MEDIA_ROOT = where
    run_until(job, State.RUNNING)
    assert job.attempts.get().outcome == Outcome.RUNNING
    assert ledger.balance(rich.pk).held == job.price
    books.check()


@pytest.mark.parametrize("mode", ["500", "hang", "refuse", "401", "404", "wrongtype"])
def test_looks_that_fail_are_repeated(rich: User, sandbox: RunningSandbox, settings: Any, mode: str) -> None:
    job, patience_s = run_until(order(rich), State.RUNNING), settings.MAGIC_HOUR_TIMEOUT_S
    settings.MAGIC_HOUR_TIMEOUT_S = 0.7 if mode == "hang" else patience_s
    sandbox.fault("magic-hour", mode, path="/v1/image-projects", count=2)
    until(lambda: advance() is not None and not sandbox.ask("GET", "/control/faults"), "two looks have failed")
    settings.MAGIC_HOUR_TIMEOUT_S = patience_s
    run_until(job)

    assert job.state == State.SUCCEEDED
    assert starts(sandbox) == 1
    books.check()


def test_a_job_the_provider_lost_is_released(rich: User, sandbox: RunningSandbox) -> None:
    sandbox.fault("magic-hour", "404", path="/v1/image-projects", count=None)
    job = run_until(order(rich))

    assert (job.state, job.error_code) == (State.FAILED, "provider_lost")
    sandbox.clear_faults()
    books.check()


@pytest.mark.parametrize("mode", ["wrongtype", "truncated", "500", "slow"])
def test_a_download_that_goes_wrong_once_is_fetched_again(rich: User, sandbox: RunningSandbox, mode: str) -> None:
    sandbox.fault("magic-hour", mode, path="/downloads/", **({"seconds": 0.5} if mode == "slow" else {}))
    job = run_until(order(rich))

    assert job.state == State.SUCCEEDED
    assert Asset.objects.count() == 1
    books.check()


@pytest.mark.parametrize(
    ("mode", "code"), [("wrongtype", "bad_output"), ("huge", "output_too_large"), ("404", "bad_output")]
)
def test_a_download_that_stays_wrong_is_released(rich: User, sandbox: RunningSandbox, mode: str, code: str) -> None:
    sandbox.fault("magic-hour", mode, path="/downloads/", count=None)
    job = run_until(order(rich))

    assert (job.state, job.error_code) == (State.FAILED, code)
    assert ledger.balance(rich.pk).available == 105
    assert not StoredObject.objects.filter(key__startswith="content/").exists()
    sandbox.clear_faults()
    books.check()


def test_our_storage_failing_is_waited_out(
    rich: User, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core import storage

    failures = iter([OSError("disk full"), OSError("disk full")])
    save = storage.save

    def flaky(*args: Any, **kwargs: Any) -> str:
        with contextlib.suppress(StopIteration):
            raise next(failures)
        return save(*args, **kwargs)

    job = order(rich)
    monkeypatch.setattr(storage, "save", flaky)
    run_until(job)

    assert job.state == State.SUCCEEDED
    leftover = StoredObject.objects.filter(key__startswith="content/", expires_at__isnull=False)
    assert leftover.count() == 4  # the two keys of each of the two failed tries
    books.check()


# --- workers that die: wherever a script stops, the next one ends the job right --------------------------------------


def half_way(script: Any, steps: int) -> None:
    """Run a script's first calls and forget it, as SIGKILL would."""
    with contextlib.suppress(StopIteration):
        call = next(script)
        for _ in range(steps):
            call = script.send(call())


@pytest.mark.parametrize("steps", [0, 1])
def test_a_worker_lost_while_sending(rich: User, sandbox: RunningSandbox, steps: int) -> None:
    job = order(rich)
    token, (claimed,) = moves.claim(State.QUEUED, 1)
    half_way(submit.script(claimed, token), steps)
    assert advance() == 0  # its lease still holds
    job.refresh_from_db()
    assert job.state == (State.QUEUED, State.SUBMITTING)[steps]

    lapse(job)
    advance()
    job.refresh_from_db()
    assert job.unknown == bool(steps)
    run_until(job)

    assert job.state == State.SUCCEEDED
    assert job.attempts.count() == 1 + steps
    books.check()


def test_a_worker_lost_while_looking(rich: User, sandbox: RunningSandbox, settings: Any) -> None:
    job = run_until(order(rich), State.RUNNING)
    Generation.objects.update(next_at=Now())
    settings.GENERATION_POLL_MIN_S = settings.GENERATION_POLL_MAX_S = 600
    [script] = poll.scripts(poll.claim(1))
    half_way(script, 0)
    assert poll.claim(1) == []
    settings.GENERATION_POLL_MIN_S = settings.GENERATION_POLL_MAX_S = 0.05

    Generation.objects.update(next_at=Now())
    run_until(job)

    assert job.state == State.SUCCEEDED
    assert starts(sandbox) == 1
    books.check()


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_a_worker_lost_while_storing(rich: User, sandbox: RunningSandbox, settings: Any, steps: int) -> None:
    job = to_storing(rich, sandbox)
    token, (claimed,) = moves.claim(State.STORING, 1)
    half_way(store.script(claimed, token), steps)
    sweep()
    job.refresh_from_db()
    assert job.state == State.STORING

    lapse(job)
    run_until(job)

    assert job.state == State.SUCCEEDED
    assert Asset.objects.count() == 1
    kept = StoredObject.objects.filter(expires_at=None, key__startswith="content/")
    assert kept.count() == 2
    StoredObject.objects.filter(expires_at__isnull=False).update(expires_at=Now())
    sweep()
    on_disk = {path.name for path in (settings.MEDIA_ROOT / "content").rglob("*.*")}
    assert on_disk == {found.key.rsplit("/", 1)[1] for found in kept}
    books.check()


def to_storing(user: User, sandbox: RunningSandbox) -> Generation:
    """A job whose picture is ready at the provider and which nobody stores."""
    job = run_until(order(user), State.RUNNING)
    until(lambda: any("image.completed" in d["body"] for d in sandbox.deliveries()), "the picture is ready")
    Generation.objects.filter(pk=job.pk).update(state=State.STORING, next_at=Now())
    job.refresh_from_db()
    return job


def test_storing_past_the_deadline_is_left_alone_under_a_live_lease(
    rich: User, sandbox: RunningSandbox, settings: Any
) -> None:
    job = to_storing(rich, sandbox)
    token, (claimed,) = moves.claim(State.STORING, 1)
    script = store.script(claimed, token)
    call = next(script)
    Generation.objects.filter(pk=job.pk).update(deadline_at=Now() - timedelta(seconds=1))
    sweep()
    job.refresh_from_db()
    assert job.state == State.STORING

    drive(script, call)

    job.refresh_from_db()
    assert job.state == State.SUCCEEDED
    books.check()


def test_a_lapsed_store_past_the_deadline_is_released_and_its_late_end_does_nothing(
    rich: User, sandbox: RunningSandbox
) -> None:
    job = to_storing(rich, sandbox)
    token, (claimed,) = moves.claim(State.STORING, 1)
    script = store.script(claimed, token)
    call = next(script)
    Generation.objects.filter(pk=job.pk).update(
        deadline_at=Now() - timedelta(seconds=2), lease_until=Now() - timedelta(seconds=1)
    )
    sweep()
    job.refresh_from_db()
    assert (job.state, job.error_code) == (State.FAILED, "deadline_exceeded")

    drive(script, call)

    job.refresh_from_db()
    assert job.state == State.FAILED
    assert not Asset.objects.exists()
    assert ledger.balance(rich.pk).available == 105
    assert Attempt.objects.get().discard_at is not None
    books.check()


def test_a_lease_is_never_stretched_past_one_lease_after_the_deadline(rich: User, sandbox: RunningSandbox) -> None:
    job = to_storing(rich, sandbox)
    token, _ = moves.claim(State.STORING, 1)
    Generation.objects.filter(pk=job.pk).update(deadline_at=Now() - timedelta(seconds=15))

    assert moves.renew(job.pk, token)

    job.refresh_from_db()
    assert job.lease_until == job.deadline_at + moves.lease()


# --- everything at once, and Redis -----------------------------------------------------------------------------------


def test_it_all_works_without_redis(rich: User, sandbox: RunningSandbox, settings: Any) -> None:
    settings.PROVIDER_RATES = {"magic-hour": (1, 60)}
    settings.REDIS_URL = "unix:///nowhere/valkey.sock?db=0"
    redis.client.cache_clear()
    try:
        job = run_until(order(rich))
        assert throughput.take("magic-hour") == [0]
        assert not throughput.is_open("magic-hour")
        assert throughput._away_until > 0
    finally:
        redis.client.cache_clear()

    assert job.state == State.SUCCEEDED
    books.check()


def test_the_bucket_paces_calls_without_losing_any(rich: User, sandbox: RunningSandbox, settings: Any) -> None:
    settings.PROVIDER_RATES = {"magic-hour": (2, 0.5)}
    one, two = order(rich), order(rich)

    run_until(one)
    run_until(two)

    assert (one.state, two.state) == (State.SUCCEEDED, State.SUCCEEDED)
    books.check()


def test_an_open_breaker_holds_back_and_closes(rich: User, sandbox: RunningSandbox) -> None:
    for _ in range(5):
        throughput.report("magic-hour", answered=False)
    assert throughput.is_open("magic-hour")
    job = order(rich)
    advance()
    job.refresh_from_db()
    assert job.state == State.QUEUED
    assert not sandbox.requests()

    throughput.report("magic-hour", answered=True)
    run_until(job)

    assert job.state == State.SUCCEEDED


def test_a_fallback_takes_the_job_over_at_its_price(rich: User, sandbox: RunningSandbox) -> None:
    main = Operation.objects.get(code="headshot")
    other = Operation.objects.get(code="headshot")
    other.pk, other.code, other.is_default, other.base_price, other.model = None, "headshot-b", False, 10, "other"
    other.save(force_insert=True)
    main.fallback = other
    main.save()
    sandbox.fault("magic-hour", "503", path=CREATE)
    job = run_until(order(rich))

    assert (job.state, job.operation, job.model, job.price) == (State.SUCCEEDED, "headshot-b", "other", 50)
    assert ledger.balance(rich.pk).balance == 55
    books.check()


def test_passes_over_ended_jobs_and_empty_tables_do_nothing(rich: User, sandbox: RunningSandbox) -> None:
    assert (advance(), sweep()) == (0, 0)
    done = run_until(order(rich))
    failed = run_until(order(rich, style_prompt="sandbox:fail"))
    before = list(Generation.objects.order_by("pk").values())

    for _ in range(2):
        assert advance() == 0
        sweep()

    assert list(Generation.objects.order_by("pk").values()) == before
    assert {done.state, failed.state} == {State.SUCCEEDED, State.FAILED}
    books.check()


def test_only_the_databases_clock_decides(rich: User, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose clock is an hour wrong does what every other does."""
    import datetime as module
    import time

    real, shift = time.time, [3600.0]
    monkeypatch.setattr(time, "time", lambda: real() + shift[0])
    assert module.datetime.now(module.UTC)
    job = order(rich)
    run_until(job, State.RUNNING)
    shift[0] = -3600.0
    run_until(job)

    assert job.state == State.SUCCEEDED
    overdue = Generation.objects.filter(deadline_at__gt=F("created_at") + timedelta(hours=1))
    assert not overdue.exists()
    books.check()

"""Callbacks doubled, late or out of order; workers that wake up when another has their job; Valkey gone."""

from __future__ import annotations

import contextlib
import math
import random
import threading
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from billing import ledger
from billing.models import Hold, LedgerTransaction
from core import redis
from generation import jobs
from generation.engine import poll, throughput
from generation.engine.advance import advance
from generation.errors import OperationUnavailable
from generation.models import Asset, Attempt, Generation, Kind, Operation, Outcome, State
from generation.providers.base import Rejected, Seen, Submitted, Unavailable, Unknown
from generation.webhooks import _look
from inbox.deliveries import Outcome as Handled
from notifications.models import Mail
from tests import books
from tests.generation.material import drive, fund, lapse, order_of, run_until, sweep, until
from tests.generation.scripted import Play, data_url, install

PROMPT = "A paper boat"
DONE = Seen("succeeded", 100, (data_url(),), cost=Decimal("0.1"))
REFUSED = Seen("failed", cost=Decimal("0.1"), error=Rejected("no", code="provider_failed"))


@pytest.fixture
def play(db: None, monkeypatch: pytest.MonkeyPatch) -> Play:
    """A provider that gives an id and works until a test says otherwise."""
    play, numbers = install(monkeypatch), count(1)
    play.queue = "providers"
    play.answers = [lambda order: Submitted(f"job-{next(numbers)}")]
    return play


def picture(user: User) -> Generation:
    return order_of(user, Kind.IMAGE, prompt=PROMPT)


def called_back(job_id: str | None, token: str | None = None) -> Handled:
    return _look("scripted", {"id": job_id, "token": token})


def provider_id(job: Generation) -> str:
    found = job.attempts.latest("n").provider_job_id
    assert found
    return found


def looking(job: Generation) -> Callable[[Seen], None]:
    """A worker that is just asking about the running job. It goes on when it is told what it hears."""
    Generation.objects.filter(pk=job.pk).update(next_at=Now())
    [look] = asked = poll.claim(1)
    script = poll.script(asked, math.inf, told := deque())
    next(script)

    def hear(seen: Seen) -> None:
        asked.clear()
        told.append((look, seen))
        drive(script, lambda: False)

    return hear


def ends(job: Generation) -> tuple[str, str, int, int]:
    """State, hold, assets, mails."""
    job.refresh_from_db()
    mails = Mail.objects.filter(cause=f"generation:{job.pk}:1").count()
    return job.state, Hold.objects.get(key=job.hold_key).state, Asset.objects.filter(generation=job).count(), mails


MADE, LOST = ("succeeded", "captured", 1, 1), ("failed", "released", 0, 1)


# --- Workers that wake up ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("heard", "true"), [(REFUSED, DONE), (DONE, REFUSED), (Seen("running", 10), DONE)])
def test_what_a_woken_worker_heard_decides_nothing(rich: User, play: Play, heard: Seen, true: Seen) -> None:
    job = run_until(picture(rich), State.RUNNING)
    hear = looking(job)
    lapse(job)
    play.looks[provider_id(job)] = true
    run_until(job)
    ended = ends(job)

    hear(heard)

    assert ends(job) == ended == (MADE if true is DONE else LOST)
    assert LedgerTransaction.objects.filter(kind="spend").count() == (true is DONE)
    books.check()


@pytest.mark.parametrize("late", [DONE, REFUSED, Seen("running", 10)])
def test_of_two_that_look_at_once_the_first_to_hear_decides(rich: User, play: Play, late: Seen) -> None:
    job = run_until(picture(rich), State.RUNNING)
    slow, quick = looking(job), looking(job)
    quick(DONE)
    before = Generation.objects.filter(pk=job.pk).values().get()

    slow(late)

    assert Generation.objects.filter(pk=job.pk).values().get() == before
    assert ends(job) == MADE
    books.check()


def test_a_callback_during_a_look_keeps_its_word(rich: User, play: Play, settings: Any) -> None:
    settings.GENERATION_POLL_MIN_S = settings.GENERATION_POLL_MAX_S = 600
    job = run_until(picture(rich), State.RUNNING)
    hear = looking(job)
    assert poll.claim(1) == []
    assert called_back(provider_id(job)) is Handled.PROCESSED

    hear(Seen("running", 10))

    assert [look.job_id for look in poll.claim(1)] == [job.pk]


def test_a_late_look_leaves_whoever_stores_alone(rich: User, play: Play) -> None:
    job = run_until(picture(rich), State.RUNNING)
    slow = looking(job)
    run_until(job, State.RUNNING)
    play.looks[provider_id(job)] = DONE
    Generation.objects.filter(pk=job.pk).update(next_at=Now())
    [store] = poll._write([(poll.claim(1)[0], DONE)])
    before = Generation.objects.filter(pk=job.pk).values().get()
    assert before["state"] == State.STORING

    slow(REFUSED)

    assert Generation.objects.filter(pk=job.pk).values().get() == before
    drive(store)
    assert ends(job) == MADE
    books.check()


def test_what_many_looks_hear_is_written_by_as_many_queries_as_for_few(rich: User, play: Play) -> None:
    fund(rich, 100)
    made = [run_until(picture(rich), State.RUNNING) for _ in range(12)]
    Generation.objects.update(next_at=Now())
    looks = poll.claim(50)
    assert len(looks) == len(made)
    said = [Seen("running", 70, answer={"at": "work"}), REFUSED, Seen("gone"), Unavailable("503")]
    heard = [(look, said[n % 4]) for n, look in enumerate(looks)]

    with CaptureQueriesContext(connection) as few:
        poll._write(heard[:4])
    with CaptureQueriesContext(connection) as many:
        poll._write(heard[4:])

    assert len(many) == len(few)
    states = [ends(Generation.objects.get(pk=look.job_id))[:2] for look, _ in heard]
    assert states == [("running", "open"), ("failed", "released"), ("running", "open"), ("running", "open")] * 3
    assert Generation.objects.filter(progress=70, step="rendering", unknown=False).count() == 3
    assert Attempt.objects.filter(answer={"at": "work"}).count() == 3
    assert Attempt.objects.filter(misses=1, generation__unknown=True).count() == 3
    assert Attempt.objects.filter(outcome=Outcome.FAILED, provider_cost=REFUSED.cost).count() == 3

    books.check()


@pytest.mark.django_db(transaction=True)
def test_an_answer_that_cannot_be_written_keeps_no_other_from_being_written(rich: User, play: Play) -> None:
    for _ in range(3):
        run_until(picture(rich), State.RUNNING)
    Generation.objects.update(next_at=Now())
    looks = poll.claim(50)
    said = [{"at": "work"}, {"at": "nul \0"}, {"at": "work"}]

    poll._write_all([(look, Seen("running", 70, answer=answer)) for look, answer in zip(looks, said, strict=True)])

    assert Attempt.objects.filter(answer={"at": "work"}).count() == 2
    assert set(Generation.objects.filter(progress=70).values_list("pk", flat=True)) == {
        looks[0].job_id,
        looks[2].job_id,
    }
    books.check()


def test_two_looks_at_once_that_miss_a_job_are_one_miss(rich: User, play: Play) -> None:
    job = run_until(picture(rich), State.RUNNING)
    for misses in range(1, 5):
        Generation.objects.update(next_at=Now())
        [look] = poll.claim(50)
        poll._write([(look, Seen("gone"))])
        poll._write([(look, Seen("gone"))])
        assert job.attempts.get().misses == misses
        assert ends(Generation.objects.get(pk=job.pk))[:2] == ("running", "open")

    Generation.objects.update(next_at=Now())
    [look] = poll.claim(50)
    poll._write([(look, Seen("gone"))])
    assert ends(Generation.objects.get(pk=job.pk))[:2] == ("failed", "released")
    books.check()


@pytest.mark.parametrize("heard", [DONE, REFUSED])
def test_nobody_gets_anything_after_a_cancel(rich: User, play: Play, heard: Seen) -> None:
    job = run_until(picture(rich), State.RUNNING)
    hear = looking(job)
    jobs.cancel(user=rich, job_id=job.pk)

    hear(heard)

    assert ends(job) == ("canceled", "released", 0, 1)
    assert job.attempts.get().provider_cost == heard.cost
    assert ledger.balance(rich.pk).available == 105
    books.check()


# --- Callbacks --------------------------------------------------------------------------------------------------------


def test_callbacks_doubled_and_before_between_and_after_everything(rich: User, play: Play) -> None:
    job = run_until(picture(rich), State.RUNNING)
    id, token = provider_id(job), job.attempts.get().token

    assert {called_back(id) for _ in range(5)} == {Handled.PROCESSED}
    play.looks[id] = DONE
    assert called_back(id, token) is Handled.PROCESSED
    run_until(job)
    assert {called_back(id, token) for _ in range(5)} == {Handled.PROCESSED}
    assert called_back("job-of-another", token) is Handled.UNMATCHED
    for _ in range(3):
        advance()

    assert ends(job) == MADE
    attempt = job.attempts.get()
    assert (attempt.outcome, attempt.provider_job_id, attempt.discard_at) == (Outcome.SUCCEEDED, id, None)
    books.check()


def test_callbacks_about_what_was_cancelled_and_discarded(rich: User, play: Play) -> None:
    job = run_until(picture(rich), State.RUNNING)
    id = provider_id(job)
    jobs.cancel(user=rich, job_id=job.pk)
    play.looks[id] = DONE

    assert called_back(id) is Handled.PROCESSED
    advance()
    attempt = job.attempts.get()
    assert (attempt.outcome, attempt.provider_cost) == (Outcome.ABANDONED, DONE.cost)
    assert attempt.discarded_at is not None
    assert called_back(id) is Handled.PROCESSED
    attempt.refresh_from_db()

    assert attempt.discard_at is None
    assert ends(job) == ("canceled", "released", 0, 1)
    books.check()


def test_a_callback_before_the_id_is_known_and_the_answer_after_the_end(rich: User, play: Play) -> None:
    """It hangs; the callback of the first start comes when the second one runs, and once more when all is over."""
    play.answers = [Unknown("no answer"), *play.answers]
    job = run_until(picture(rich), State.RUNNING)
    first, _ = job.attempts.order_by("n")
    assert (first.outcome, first.provider_job_id) == (Outcome.UNKNOWN, None)

    play.looks["hung"] = DONE
    assert called_back("hung", first.token) is Handled.PROCESSED
    play.looks[provider_id(job)] = DONE
    run_until(job)
    assert called_back("hung", first.token) is Handled.PROCESSED
    until(lambda: advance() or not Attempt.objects.exclude(discard_at=None).exists(), "the first is let go")

    first.refresh_from_db()
    assert (first.outcome, first.provider_cost) == (Outcome.ABANDONED, DONE.cost)
    assert ends(job) == MADE
    assert ledger.balance(rich.pk).balance == 100
    books.check()


# --- Valkey, the breaker, the switch, the fallback --------------------------------------------------------------------


def test_valkey_is_flushed_while_sixty_jobs_run(rich: User, play: Play, settings: Any) -> None:
    fund(rich, 1000)
    settings.PROVIDER_RATES = {"scripted": (2000, 1)}
    settings.GENERATION_POLL_MIN_S = settings.GENERATION_POLL_MAX_S = 2
    made = [picture(rich) for _ in range(60)]
    stop, flushes = threading.Event(), count()

    def flush() -> None:
        while not stop.wait(0.01):
            with contextlib.suppress(redis.Error):
                redis.client().flushdb()
                next(flushes)

    thread = threading.Thread(target=flush)
    thread.start()
    try:
        until(
            lambda: advance() and not Generation.objects.filter(state=State.QUEUED).exists(),
            "all are sent",
        )
        ids = list(Attempt.objects.values_list("provider_job_id", flat=True))
        assert len(ids) == len(set(ids)) == 60
        random.Random(1).shuffle(ids)
        play.looks |= {id: DONE if n < 10 else REFUSED for n, id in enumerate(ids) if id}  # decoding is what costs
        Generation.objects.update(next_at=Now())
        until(lambda: [advance(), sweep()] and not Generation.objects.open().exists(), "all end")
    finally:
        stop.set()
        thread.join()

    assert next(flushes) > 5
    assert sorted(ends(job) for job in made) == [LOST] * 50 + [MADE] * 10
    assert Attempt.objects.count() == 60
    assert ledger.balance(rich.pk).balance == 1105 - 10 * 5
    books.check()


@pytest.mark.parametrize(("kind", "code"), [(Kind.IMAGE, "image"), (Kind.VIDEO, "video.xai")])
def test_a_breaker_holds_a_kind_back_and_a_switch_refuses_it(rich: User, play: Play, kind: Kind, code: str) -> None:
    play.answers = [Unavailable("503")]
    job = order_of(rich, kind, prompt=PROMPT)
    until(lambda: [advance(), throughput.is_open("scripted")][1], "five failures in a row open it")
    sent = len(play.orders)
    for _ in range(3):
        Generation.objects.update(next_at=Now())
        advance()
    assert len(play.orders) == sent == 5
    job.refresh_from_db()
    assert (job.state, job.was_submitted) == (State.QUEUED, False)

    Operation.objects.filter(code=code).update(is_enabled=False)
    with pytest.raises(OperationUnavailable):
        order_of(rich, kind, prompt=PROMPT)
    Generation.objects.update(deadline_at=Now())
    sweep()

    job.refresh_from_db()
    assert (job.state, job.error_code) == (State.FAILED, "provider_unavailable")
    assert ledger.balance(rich.pk).available == 105
    books.check()


@pytest.mark.parametrize(("kind", "code"), [(Kind.IMAGE, "image"), (Kind.VIDEO, "video.xai")])
def test_a_fallback_takes_a_kind_over_at_its_price(rich: User, play: Play, kind: Kind, code: str) -> None:
    main, other = Operation.objects.get(code=code), Operation.objects.get(code=code)
    other.pk, other.code, other.is_default, other.base_price, other.model = None, f"{code}-b", False, 90, "b"
    other.save(force_insert=True)
    main.fallback = other
    main.save()
    play.answers = [Unavailable("503"), *play.answers]
    job = run_until(order_of(rich, kind, prompt=PROMPT), State.RUNNING)
    price = job.price

    play.looks[provider_id(job)] = REFUSED
    run_until(job)

    assert [order.operation for order in play.orders] == [code, f"{code}-b"]
    assert [order.model for order in play.orders][1] == "b"
    assert (job.operation, job.price, price < 90) == (f"{code}-b", price, True)
    assert ends(job) == LOST
    books.check()

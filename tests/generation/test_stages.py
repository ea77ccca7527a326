"""Jobs that take several orders: under one hold and one deadline, each order from what the one before made."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse

from accounts.models import User
from billing import ledger
from billing.models import Hold
from generation import jobs
from generation.engine import moves
from generation.engine.advance import advance
from generation.models import Asset, Generation, Kind, Outcome, State
from generation.providers.base import Order, Rejected, Seen, Submitted, Unknown
from generation.providers.base import Treatment as Treated
from notifications.models import Mail
from tests import books
from tests.dying import die_at
from tests.generation.material import fund, lapse, order_of, run_until, sweep, until
from tests.generation.scripted import PLAY, Play, data_url, install, made
from tests.people import make_user

PROMPT = "A paper boat on a lake"


@pytest.fixture
def play(db: None, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Three orders make a picture; the provider works in the background."""
    play = install(monkeypatch)
    play.queue, play.stages = "providers", 3
    play.answers = [_taken]
    return play


def _taken(order: Order) -> Submitted:
    """Taken under the stage's name, and ready at the first look."""
    name = f"{order.token}-{order.stage}"
    PLAY.looks[name] = Seen("succeeded", outputs=(data_url() if order.stage == PLAY.stages else f"at:{order.stage}",))
    return Submitted(name, answer={}, cost=made(cost=f"0.{order.stage}").cost)


def picture(user: User) -> Generation:
    return order_of(user, Kind.IMAGE, prompt=PROMPT)


def holds() -> list[tuple[str, int]]:
    return list(Hold.objects.values_list("state", "amount"))


def test_each_order_begins_where_the_last_one_ended(rich: User, play: Play) -> None:
    job = run_until(picture(rich))

    assert (job.state, job.stage, job.progress) == (State.SUCCEEDED, 3, 100)
    assert [(order.stage, order.previous) for order in play.orders] == [(1, ""), (2, "at:1"), (3, "at:2")]
    attempts = list(job.attempts.order_by("n"))
    assert [(a.n, a.stage, a.outcome, a.made) for a in attempts] == [(n, n, Outcome.SUCCEEDED, {}) for n in (1, 2, 3)]
    assert holds() == [("captured", 5)]
    assert (Asset.objects.count(), Mail.objects.filter(cause=f"generation:{job.pk}:1").count()) == (1, 1)
    books.check()


def test_staff_see_what_all_stages_cost(rich: User, play: Play) -> None:
    job = run_until(picture(rich))
    console = Client()
    console.force_login(User.objects.create_superuser("boss@example.com", "a long pass phrase 7"))

    page = console.get(reverse("admin:generation_generation_change", args=[job.pk])).content.decode()

    assert "0.6 USD" in page
    attempt = console.get(reverse("admin:generation_attempt_change", args=[job.attempts.first().pk])).content.decode()
    assert "at:1" not in page + attempt


def test_synchronous_stages_are_ordered_one_after_the_other(rich: User, play: Play) -> None:
    play.queue, play.answers = "providers_sync", [made("at:1"), made("at:2"), made()]

    job = run_until(picture(rich))

    assert (job.state, [order.previous for order in play.orders]) == (State.SUCCEEDED, ["", "at:1", "at:2"])
    books.check()


def test_each_stage_has_two_starts(rich: User, play: Play) -> None:
    play.answers = [Unknown("?"), _taken, Unknown("?"), _taken, Unknown("?")]
    job = picture(rich)

    def is_at_its_end() -> bool:
        advance()
        sweep()
        job.refresh_from_db()
        return len(play.orders) >= 6 and job.unknown and job.next_at == job.deadline_at

    until(is_at_its_end, "both starts of the last stage are lost")
    advance()
    assert (job.state, job.stage, job.unknown) == (State.SUBMITTING, 3, True)
    assert [order.stage for order in play.orders] == [1, 1, 2, 2, 3, 3]
    assert holds() == [("open", 5)]

    Generation.objects.update(deadline_at=Now())
    run_until(job)

    assert (job.state, job.error_code) == (State.FAILED, "deadline_exceeded")
    assert ledger.balance(rich.pk).available == 105
    books.check()


def between_stages(user: User) -> Generation:
    """A job whose first stage is done, and whose second nobody has sent."""
    job = picture(user)
    advance()
    Generation.objects.update(next_at=Now())
    advance()
    job.refresh_from_db()
    assert (job.state, job.stage, job.progress) == (State.QUEUED, 2, 33)
    return job


def test_a_cancel_between_two_stages_counts_as_a_late_one(rich: User, play: Play, settings: Any) -> None:
    job = between_stages(rich)

    jobs.cancel(user=rich, job_id=job.pk)
    run_until(job)

    assert (job.state, job.was_submitted, len(play.orders)) == (State.CANCELED, True, 1)
    first = job.attempts.get()
    assert (first.outcome, first.made) == (Outcome.SUCCEEDED, {})
    assert ledger.balance(rich.pk).available == 105
    books.check()


def test_the_deadline_is_the_whole_jobs(rich: User, play: Play) -> None:
    job = between_stages(rich)
    before = job.deadline_at

    run_until(job, State.RUNNING)
    assert job.deadline_at == before
    Generation.objects.update(deadline_at=Now())
    run_until(job)

    assert (job.state, job.error_code) == (State.FAILED, "deadline_exceeded")
    assert ledger.balance(rich.pk).available == 105
    books.check()


def test_a_refusal_in_the_middle_gives_everything_back_and_a_retry_begins_anew(rich: User, play: Play) -> None:
    play.answers = [_taken, Rejected("no", code="provider_rejected"), _taken]
    job = run_until(picture(rich))
    assert (job.state, job.stage, job.error_code) == (State.FAILED, 2, "provider_rejected")
    assert ledger.balance(rich.pk).available == 105

    jobs.retry(user=rich, job_id=job.pk)
    run_until(job)

    assert (job.state, job.round, job.stage) == (State.SUCCEEDED, 2, 3)
    assert [(order.stage, order.previous) for order in play.orders[2:]] == [(1, ""), (2, "at:1"), (3, "at:2")]
    assert sorted(holds()) == [("captured", 5), ("released", 5)]
    books.check()


def test_a_stage_that_made_nothing_is_a_bad_output(rich: User, play: Play) -> None:
    def empty(order: Order) -> Submitted:
        PLAY.looks["x"] = Seen("succeeded")
        return Submitted("x")

    play.answers = [empty]

    job = run_until(picture(rich))

    assert (job.state, job.error_code) == (State.FAILED, "bad_output")
    books.check()


# --- killed between every two effects -------------------------------------------------------------------------------

SYNCHRONOUS = [
    *("generation.submit.claimed", "generation.submit.prepared", "generation.submit.committed"),
    *("generation.submit.answered", "generation.submit.made", "generation.store.claimed", "generation.store.fetched"),
    *("generation.store.intended", "generation.store.saved", "generation.finish.decided", "generation.finish.settled"),
    *("generation.finish.committed", "generation.stage.queued"),
]
IN_STAGES = [
    *("generation.submit.recorded", "generation.poll.claimed", "generation.poll.answered", "generation.stage.queued"),
    *("generation.poll.storing", "generation.store.saved"),
]


def work(queue: str) -> None:
    """A worker of this queue makes passes for as long as it lives."""
    while True:
        Generation.objects.open().update(next_at=Now())
        advance(queue)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("queue", ["providers", "providers_sync"])
def test_whoever_dies_wherever_the_job_ends_right_once(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch, queue: str
) -> None:
    play = install(monkeypatch)
    is_sync = queue == "providers_sync"
    play.queue, play.stages, play.treatment = queue, 2, Treated(size=(100, 100))
    play.answers = [lambda order: made(f"at:{order.stage}") if order.stage == 1 else made()] if is_sync else [_taken]
    alice = make_user()
    fund(alice, 100)
    points = SYNCHRONOUS if is_sync else IN_STAGES
    for done, point in enumerate(points):
        job = picture(alice)
        if not is_sync:
            # The child's knowledge of what the provider takes dies with it: here it is told beforehand.
            play.looks = _Anything()
        die_at(point, partial(work, queue))
        lapse(job)

        run_until(job)

        assert (job.state, job.stage) == (State.SUCCEEDED, 2), point
        assert job.assets.count() == 1, point
        assert not job.attempts.exclude(made={}).exists(), point
        assert Mail.objects.filter(cause=f"generation:{job.pk}:1").count() == 1, point
        assert ledger.balance(alice.pk).balance == 105 - 5 * (done + 1), point
        assert job.attempts.filter(stage=1).count() <= 2, point
        assert moves.claim(State.STORING, 5, queue)[1] == []
    books.check()


class _Anything(dict[str, Seen]):
    """Every order is ready at the first look, whichever process gave it."""

    def get(self, name: str, otherwise: Any = None) -> Any:
        stage = int(name.rpartition("-")[2])
        return Seen("succeeded", outputs=(data_url() if stage == PLAY.stages else f"at:{stage}",))

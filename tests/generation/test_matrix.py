"""Every kind under every magic word, together: each ends once, and money, files, mail, trail and our bill fit it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from accounts.models import User
from billing import ledger
from billing.models import Hold
from core.killpoints import POINTS
from generation import jobs
from generation.engine import throughput
from generation.models import Attempt, Generation, Outcome, State
from notifications.models import Mail
from tests import books
from tests.dying import exit_status
from tests.generation import matrix
from tests.generation.material import fund, lapse, photo_of, tell, until
from tests.generation.matrix import CASES, ENDS, PRICES, Case, is_unanswered
from tests.sandbox.process import RunningSandbox

CREDITS = 10_000
TIMEOUTS = ("MAGIC_HOUR_TIMEOUT_S", "KIE_TIMEOUT_S", "XAI_TIMEOUT_S", "XAI_SYNC_TIMEOUT_S")
ROAD = [
    name
    for name in POINTS
    if name.startswith(tuple(f"generation.{part}." for part in ("submit", "poll", "store", "finish", "discard")))
]


@pytest.fixture
def rich(alice: User, sandbox: RunningSandbox, settings: Any, monkeypatch: pytest.MonkeyPatch) -> User:
    """Somebody with room and credits. So much trouble at once would open the breaker, which is tested by itself."""
    fund(alice, CREDITS - 5)
    matrix.large_plan(alice)
    monkeypatch.setattr(throughput, "_FAILURES", 10**6)
    settings.OUTPUT_MAX_BYTES = dict.fromkeys(settings.OUTPUT_MAX_BYTES, 3_000_000)
    settings.GENERATION_LEASE_S = 120
    settings.GENERATION_POLL_MIN_S, settings.GENERATION_POLL_MAX_S = 0.4, 1
    settings.MAGIC_HOUR_RESOLVE_S = settings.KIE_RESOLVE_S = 0.1
    wait_for_answers(settings, 60)
    sandbox.tune(slow_s=0.6, late_s=1000)
    return alice


def wait_for_answers(settings: Any, seconds: float) -> None:
    for name in TIMEOUTS:
        setattr(settings, name, seconds)


def place(user: User, cases: Iterable[Case]) -> dict[Case, Generation]:
    cases, photo = list(cases), photo_of(user)
    faces = matrix.faces(user, [word for kind, word in cases if kind == "avatar.thumbnail"])
    return {(kind, word): matrix.place(user, kind, word, photo=photo, face=faces.get(word)) for kind, word in cases}


def spent(user: User) -> int:
    """Beside what the faces cost that were made before."""
    return CREDITS - ledger.balance(user.pk).balance


def clear(sandbox: RunningSandbox) -> None:
    """What came too late is learnt of and let go."""
    sandbox.advance(10_000)

    def is_cleared() -> bool:
        matrix.step()
        return not Attempt.objects.exclude(discard_at=None).exists()

    until(is_cleared, "what came too late is let go", within_s=60)


def assert_all_ended(user: User, made: dict[Case, Generation], before: int) -> None:
    for case, job in made.items():
        matrix.assert_ended(job, *case)
    assert spent(user) - before == sum(PRICES[kind] for kind, word in made if not ENDS[word][kind])
    assert ledger.balance(user.pk).held == 0
    books.check()


@pytest.mark.parametrize("kind", matrix.KINDS)
def test_a_kind_under_every_word(rich: User, sandbox: RunningSandbox, kind: str) -> None:
    made = place(rich, (case for case in CASES if case[0] == kind and not is_unanswered(*case)))
    before = spent(rich)
    late = [job for (_, word), job in made.items() if word == "late"]

    matrix.finish(job for job in made.values() if job not in late)
    assert {job.state for job in Generation.objects.open()} <= {State.RUNNING}
    matrix.expire(late)
    matrix.finish(late)
    clear(sandbox)

    assert_all_ended(rich, made, before)
    for case, job in made.items():
        matrix.assert_billed(job, *case)

    before = spent(rich)
    job = jobs.retry(user=rich, job_id=made[kind, "fail"].pk)
    matrix.finish([job])
    job.refresh_from_db()
    assert (job.state, job.round, Hold.objects.get(key=job.hold_key).state) == (State.FAILED, 2, "released")
    causes = [f"generation:{job.pk}:1", f"generation:{job.pk}:2"]
    assert sorted(Mail.objects.filter(cause__in=causes).values_list("cause", flat=True)) == causes
    assert spent(rich) == before
    books.check()


def test_what_is_never_answered_is_started_twice_and_released(
    rich: User, sandbox: RunningSandbox, settings: Any
) -> None:
    made = place(rich, (case for case in CASES if is_unanswered(*case)))
    before = spent(rich)
    wait_for_answers(settings, 1)

    def all_wait() -> bool:
        matrix.step()
        waiting = Generation.objects.filter(matrix.has_given_up_asking(), pk__in=[job.pk for job in made.values()])
        return waiting.count() == len(made)

    until(all_wait, "all have been started twice", within_s=40)
    assert ledger.balance(rich.pk).held == sum(PRICES[kind] for kind, _ in made)
    matrix.expire(made.values())
    matrix.finish(made.values())

    assert_all_ended(rich, made, before)
    for case, job in made.items():
        assert list(job.attempts.values_list("outcome", flat=True)) == [Outcome.UNKNOWN] * 2, case

    # Magic Hour made both all the same, and calls back: too late for a customer, in time for our bill.
    tell(sandbox, kind="completed")
    clear(sandbox)
    hung = made["headshot", "hang"]
    assert list(hung.attempts.values_list("outcome", "provider_cost")) == [(Outcome.ABANDONED, 50)] * 2
    hung.refresh_from_db()
    assert (hung.state, hung.assets.count(), spent(rich)) == (State.FAILED, 0, before)
    books.check()


@pytest.mark.deep
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("point", ROAD)
def test_every_kind_under_every_word_whoever_dies(
    rich: User, sandbox: RunningSandbox, settings: Any, point: str
) -> None:
    """Each job by itself in a process that is killed where it gets to the point; then others go on with all of them."""
    made = place(rich, CASES)
    before = spent(rich)
    matrix.park(made.values())
    deaths = 0

    for case, job in made.items():
        wait_for_answers(settings, 1 if is_unanswered(*case) else 60)
        matrix.unpark([job])
        deaths += exit_status(lambda job=job, word=case[1]: matrix.live(job, word), point) != 0  # type: ignore[misc]
        lapse(job)
        matrix.park([job])

    assert deaths
    Attempt.objects.exclude(discard_at=None).update(discard_at=None)
    for unanswered in (False, True):
        wait_for_answers(settings, 1 if unanswered else 60)
        rest = {case: job for case, job in made.items() if is_unanswered(*case) is unanswered}
        matrix.unpark(rest.values())
        matrix.live_all(rest)
    clear(sandbox)
    assert_all_ended(rich, made, before)

"""Every kind under every magic word, together: each ends once, and money, files, mail, trail and our bill fit it."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.db.models.functions import Now

from accounts.models import User
from billing import ledger
from billing.models import Hold
from core.killpoints import POINTS
from generation import jobs, uploads
from generation.engine import throughput
from generation.models import Attempt, Generation, Outcome, Photo, State, Upload
from generation.providers import photogrammetry
from notifications.models import Mail
from tests import books
from tests.dying import Dying, die_at, exit_status
from tests.generation import matrix
from tests.generation.material import fund, jpeg, lapse, photo_of, tell, until
from tests.generation.matrix import CASES, DEEP_CASES, ENDS, PRICES, Case, is_unanswered
from tests.generation.sculptor import Sculptor
from tests.sandbox.process import RunningSandbox
from tests.stores import put

CREDITS = 10_000
PATIENT_S = 300.0  # many at once, on a machine that may do much else
TIMEOUTS = ("MAGIC_HOUR_TIMEOUT_S", "KIE_TIMEOUT_S", "XAI_TIMEOUT_S", "XAI_SYNC_TIMEOUT_S")
PICTURE_URL = "https://pictures.example.com/me.jpg"
# Who dies at each point of a job's road: the kinds that come by.
LATER = {"headshot", "video.xai", "video.kie"}  # told by polls
ALL = {kind for kind, _ in DEEP_CASES}
DIE_AT: dict[str, set[str]] = {
    "generation.inputs.saved": {"headshot"},
    **{f"generation.submit.{step}": ALL for step in ("claimed", "prepared", "committed", "answered")},
    "generation.submit.recorded": LATER,
    "generation.submit.made": ALL - LATER,
    "generation.stage.queued": {matrix.LONG},
    **{f"generation.poll.{step}": LATER for step in ("claimed", "answered", "storing")},
    **{f"generation.store.{step}": ALL for step in ("claimed", "fetched", "intended", "saved")},
    **{f"generation.finish.{step}": ALL for step in ("decided", "settled", "committed")},
    "generation.discard.deleted": {"discard"},
}
ROAD = list(DIE_AT)
# And those on the way to an order.
ORDERED = ["generation.photos.saved", "generation.uploads.kept", "generation.jobs.created"]


@pytest.fixture
def views(
    rich: User, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transactional_db: None, fetched: None
) -> list[Photo]:
    """Photos of a thing, and a machine that makes models of it; pictures are to be had at addresses."""
    settings.PHOTOGRAMMETRY_ENABLED, settings.PHOTOGRAMMETRY_FREE_BYTES = True, 0
    monkeypatch.setattr(photogrammetry, "missing", list)
    Sculptor(tmp_path, monkeypatch)
    return [photo_of(rich) for _ in range(8)]


@pytest.fixture
def rich(alice: User, sandbox: RunningSandbox, settings: Any, monkeypatch: pytest.MonkeyPatch) -> User:
    """Somebody with room and credits. So much trouble at once would open the breaker, which is tested by itself."""
    fund(alice, CREDITS - 5)
    matrix.large_plan(alice)
    monkeypatch.setattr(throughput, "_FAILURES", 10**6)
    settings.OUTPUT_MAX_BYTES = dict.fromkeys(settings.OUTPUT_MAX_BYTES, 3_000_000)
    settings.GENERATION_LEASE_S = 2 * PATIENT_S
    settings.GENERATION_POLL_MIN_S, settings.GENERATION_POLL_MAX_S = 0.4, 1
    settings.MAGIC_HOUR_RESOLVE_S = settings.KIE_RESOLVE_S = 0.1
    wait_for_answers(settings, PATIENT_S)
    sandbox.tune(slow_s=0.6, late_s=1000)
    return alice


def wait_for_answers(settings: Any, seconds: float) -> None:
    for name in TIMEOUTS:
        setattr(settings, name, seconds)


def place(user: User, cases: Iterable[Case], **more: Any) -> dict[Case, Generation]:
    cases, photo = list(cases), photo_of(user)
    faces = matrix.faces(user, [word for kind, word in cases if kind == "avatar.thumbnail"])
    return {case: matrix.place(user, *case, photo=photo, face=faces.get(case[1]), **more) for case in cases}


def put_of(user: User) -> Upload:
    """A photo that its owner has put where we said."""
    content = jpeg()
    upload = uploads.announce(user=user, filename="me.jpg", content_type="image/jpeg", bytes=len(content))
    door, _ = uploads.door(upload)
    assert put(door.url, content, dict(door.headers)) == 200
    return upload


def completed(sandbox: RunningSandbox) -> list[dict[str, Any]]:
    """What Magic Hour would have called back of pictures that are made."""
    return [found for found in sandbox.deliveries(provider="magic-hour") if '"image.completed"' in found["body"]]


def spent(user: User) -> int:
    """Beside what the faces cost that were made before."""
    return CREDITS - ledger.balance(user.pk).balance


def clear(sandbox: RunningSandbox) -> None:
    """What came too late is learnt of and let go."""
    sandbox.advance(10_000)
    matrix.let_go()


def assert_all_ended(user: User, made: dict[Case, Generation], before: int) -> None:
    for case, job in made.items():
        matrix.assert_ended(job, *case)
    assert spent(user) - before == sum(PRICES[kind] for kind, word in made if not ENDS[word][kind])
    assert ledger.balance(user.pk).held == 0
    books.check()


def test_every_point_of_a_job_is_walked() -> None:
    assert sorted([*ROAD, *ORDERED]) == sorted(name for name in POINTS if name.startswith("generation."))


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
    wait_for_answers(settings, 2.5)

    def all_wait() -> bool:
        matrix.step()
        waiting = Generation.objects.filter(matrix.has_given_up_asking(), pk__in=[job.pk for job in made.values()])
        return waiting.count() == len(made)

    until(all_wait, "all have been started twice")
    assert ledger.balance(rich.pk).held == sum(PRICES[kind] for kind, _ in made)
    matrix.expire(made.values())
    matrix.finish(made.values())

    assert_all_ended(rich, made, before)
    for case, job in made.items():
        assert list(job.attempts.values_list("outcome", flat=True)) == [Outcome.UNKNOWN] * 2, case

    # Magic Hour made both all the same, and calls back: too late for a customer, in time for our bill.
    until(lambda: len(completed(sandbox)) == 2, "both are made", within_s=60)
    tell(sandbox, kind="completed")
    clear(sandbox)
    hung = made["headshot", "hang"]
    assert list(hung.attempts.values_list("outcome", "provider_cost")) == [(Outcome.ABANDONED, 50)] * 2
    hung.refresh_from_db()
    assert (hung.state, hung.assets.count(), spent(rich)) == (State.FAILED, 0, before)
    books.check()


@pytest.mark.deep
@pytest.mark.parametrize("point", ROAD)
def test_every_kind_under_every_word_whoever_dies(
    rich: User, sandbox: RunningSandbox, settings: Any, views: list[Photo], point: str
) -> None:
    """Each job by itself in a process that is killed where it gets to the point; then others go on with all of them."""
    cases = matrix.LONG_CASES if point == "generation.stage.queued" else DEEP_CASES
    made = place(rich, cases, views=views, image_url=PICTURE_URL if point == "generation.inputs.saved" else "")
    before = spent(rich)
    matrix.park(made.values())

    died = lanes(settings, made, point)
    for unanswered in (False, True):
        wait_for_answers(settings, 1 if unanswered else PATIENT_S)
        rest = {case: job for case, job in made.items() if is_unanswered(*case) is unanswered}
        matrix.unpark(rest.values())
        matrix.live_all(rest)
    sandbox.advance(10_000)
    too_late = Attempt.objects.exclude(discard_at=None)
    too_late.update(discard_at=Now() + timedelta(days=1))
    for attempt in list(too_late):
        status = exit_status(partial(matrix.let_go, attempt), point)
        assert status in (0, -signal.SIGKILL), attempt
        if status:
            died.add("discard")
    clear(sandbox)

    assert died == DIE_AT[point]
    assert_all_ended(rich, made, before)


@pytest.mark.deep
@pytest.mark.parametrize("point", ORDERED)
def test_every_kind_under_every_word_ordered_by_who_dies(
    rich: User, sandbox: RunningSandbox, settings: Any, views: list[Photo], point: str
) -> None:
    """A process that is killed on the way to an order leaves nothing; asked again, it is one order like any other."""
    made, faces = {}, matrix.faces(rich, [word for kind, word in DEEP_CASES if kind == "avatar.thumbnail"])
    before, jobs_before, photos = spent(rich), Generation.objects.count(), Photo.objects.count()

    for kind, word in DEEP_CASES:
        photo, face = views[0], faces.get(word)
        if kind == "headshot" and point == "generation.photos.saved":
            die_at(point, lambda: photo_of(rich))
            photo = photo_of(rich)
        elif kind == "headshot" and point == "generation.uploads.kept":
            upload = put_of(rich)
            die_at(point, lambda upload=upload: uploads.complete(user=rich, upload_id=upload.pk))  # type: ignore[misc]
            photo = uploads.complete(user=rich, upload_id=upload.pk)
        ordered: dict[str, Any] = {"photo": photo, "face": face, "views": views}
        if point == "generation.jobs.created":
            die_at(point, partial(place_as_asked, rich, kind, word, **ordered))
        assert Generation.objects.count() == jobs_before + len(made), (kind, word)
        made[kind, word] = matrix.place(rich, kind, word, **ordered)
        matrix.park([made[kind, word]])

    assert ledger.balance(rich.pk).held == sum(PRICES[kind] for kind, _ in made)
    brought = 0 if point == "generation.jobs.created" else len(ENDS)
    assert Photo.objects.count() == photos + brought
    assert lanes(settings, made, "") == set()
    clear(sandbox)
    assert_all_ended(rich, made, before)


def place_as_asked(*case: Any, **ordered: Any) -> None:
    """As over HTTP: the order and the answer under its key are one transaction."""
    with transaction.atomic():
        matrix.place(*case, **ordered)


def lanes(settings: Any, made: dict[Case, Generation], point: str) -> set[str]:
    """The jobs of each kind one after the other, those of all kinds beside each other, each in a process armed for the
    point. Returns the kinds that died there.
    """
    died: set[str] = set()
    waiting = {kind: [case for case in made if case[0] == kind] for kind in matrix.DEEP_KINDS}
    running: dict[str, tuple[Dying, Case]] = {}

    def go_on() -> bool:
        for kind, (child, case) in list(running.items()):
            if child.is_alive():
                continue
            status = child.exit_status()
            assert status in (0, -signal.SIGKILL), (case, status)
            if status:
                died.add(kind)
            lapse(made[case])
            matrix.park([made[case]])
            del running[kind]
        for kind in [kind for kind, left in waiting.items() if left and kind not in running]:
            case = waiting[kind].pop(0)
            wait_for_answers(settings, 1 if is_unanswered(*case) else PATIENT_S)
            # Models are alone in their queue, which makes a difference by its name.
            matrix.unpark([made[case]], "" if kind == "model3d" else f"~{matrix.DEEP_KINDS.index(kind)}")
            running[kind] = (Dying(partial(matrix.live_alone, made[case], case[1]), point), case)
        return not running

    until(go_on, f"all have lived or died at {point}", within_s=3000, pause_s=0.1)
    return died

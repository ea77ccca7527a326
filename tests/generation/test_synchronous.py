"""Providers that answer a submission with what they made: stored whoever lives to do it, paid once, all or nothing."""

from __future__ import annotations

import contextlib
import io
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db.models.functions import Now
from PIL import Image

from accounts.models import User
from billing import ledger
from core import storage
from generation import jobs
from generation.engine import moves, submit
from generation.engine.advance import advance
from generation.models import Asset, Attempt, BlockedTerm, Generation, Kind, Outcome, State
from generation.providers.base import Rejected, Treatment, Unavailable, Unknown
from notifications.models import Mail
from tests import books
from tests.generation.material import drive, encoded, jpeg, lapse, order_of, portrait, run_until, sweep
from tests.generation.scripted import Play, data_url, install, made

PROMPT = "A paper boat on a lake"


@pytest.fixture
def play(db: None, monkeypatch: pytest.MonkeyPatch) -> Play:
    return install(monkeypatch)


def pictures(user: User, **params: Any) -> Generation:
    return order_of(user, Kind.IMAGE, prompt=PROMPT, **params)


def test_three_pictures_are_stored_and_paid_at_once(rich: User, play: Play) -> None:
    play.answers = [made(data_url(jpeg(1)), data_url(jpeg(2)), data_url(jpeg(3)), seed=7)]
    job = pictures(rich, count=3)
    assert (job.price, job.queue, job.params["size"]) == (15, "providers_sync", "1024x1024")

    assert advance() == 0  # not theirs
    assert advance("providers_sync") == 1

    job.refresh_from_db()
    assert (job.state, job.data) == (State.SUCCEEDED, {"seed": 7})
    attempt = job.attempts.get()
    assert (attempt.outcome, attempt.provider_job_id, attempt.made) == (Outcome.SUCCEEDED, None, {})
    assert (float(attempt.provider_cost or 0), attempt.cost_unit) == (0.02, "USD")
    assets = list(Asset.objects.order_by("position").select_related("file"))
    assert [asset.position for asset in assets] == [0, 1, 2]
    assert len({asset.sha256 for asset in assets}) == 3
    assert [storage.open(asset.file.key).read() for asset in assets if asset.file] == [jpeg(1), jpeg(2), jpeg(3)]
    assert ledger.balance(rich.pk).balance == 90
    mail = Mail.objects.get(name="generation-completed")
    assert mail.context["kind"] == "picture"
    books.check()


@pytest.mark.parametrize("came", [0, 2])
def test_fewer_than_ordered_are_none(rich: User, play: Play, came: int) -> None:
    play.answers = [replace(made(), outputs=(data_url(),) * came)]

    job = run_until(pictures(rich, count=3))

    assert (job.state, job.error_code) == (State.FAILED, "bad_output")
    assert len(play.orders) == 1
    assert (Asset.objects.count(), ledger.balance(rich.pk).available) == (0, 105)
    attempt = job.attempts.get()
    assert (attempt.outcome, attempt.made) == (Outcome.FAILED, {})
    assert attempt.provider_cost is not None
    assert Mail.objects.get(cause=f"generation:{job.pk}:1").name == "generation-failed"
    books.check()


def test_more_than_ordered_are_as_many_as_ordered(rich: User, play: Play) -> None:
    play.answers = [made(*[data_url()] * 4)]

    job = run_until(pictures(rich, count=2))

    assert (job.state, job.assets.count()) == (State.SUCCEEDED, 2)
    books.check()


@pytest.mark.parametrize("answer", ["data:image/jpeg,plain", "data:image/jpeg;base64,###", data_url(b"no picture")])
def test_what_is_no_picture_is_given_back(rich: User, play: Play, answer: str) -> None:
    play.answers = [made(answer)]

    job = run_until(pictures(rich))

    assert (job.state, job.error_code) == (State.FAILED, "bad_output")
    assert ledger.balance(rich.pk).available == 105
    books.check()


def test_a_data_url_that_is_too_large_is_refused(rich: User, play: Play, settings: Any) -> None:
    settings.OUTPUT_MAX_BYTES = settings.OUTPUT_MAX_BYTES | {"image": 100}

    job = run_until(pictures(rich))

    assert (job.state, job.error_code) == (State.FAILED, "output_too_large")
    books.check()


def test_a_worker_lost_between_the_answer_and_the_storing_is_followed_by_another(rich: User, play: Play) -> None:
    job = pictures(rich)
    token, (claimed,) = moves.claim(State.QUEUED, 1, "providers_sync")
    script = submit.script(claimed, token)
    call = next(script)  # prepare
    call = script.send(call())  # submit
    script.send(call())  # the first fetch, which is never made
    script.close()
    job.refresh_from_db()
    assert (job.state, job.attempt.made["outputs"]) == (State.STORING, [data_url()])
    assert advance("providers_sync") == 0  # the lease still holds

    lapse(job)
    advance("providers_sync")

    job.refresh_from_db()
    assert (job.state, job.attempts.count(), len(play.orders)) == (State.SUCCEEDED, 1, 1)
    assert job.attempts.get().made == {}
    books.check()


def test_without_an_answer_there_is_one_start_more(rich: User, play: Play) -> None:
    play.answers = [Unknown("cut off"), made()]

    job = run_until(pictures(rich))

    assert job.state == State.SUCCEEDED
    assert list(job.attempts.order_by("n").values_list("outcome", flat=True)) == [Outcome.UNKNOWN, Outcome.SUCCEEDED]
    books.check()


def test_after_two_starts_without_an_answer_the_deadline_gives_back(rich: User, play: Play) -> None:
    play.answers = [Unknown("cut off")]
    job = pictures(rich)
    for _ in range(6):
        advance("providers_sync")
        sweep()
    job.refresh_from_db()
    assert (job.state, job.unknown, len(play.orders)) == (State.SUBMITTING, True, 2)
    assert ledger.balance(rich.pk).available == 100

    Generation.objects.update(deadline_at=Now())
    run_until(job)

    assert (job.state, job.error_code) == (State.FAILED, "deadline_exceeded")
    assert ledger.balance(rich.pk).available == 105
    books.check()


def test_the_late_answer_of_a_worker_that_lost_its_lease_only_costs(rich: User, play: Play) -> None:
    play.answers = [made(cost="0.05"), made(data_url(jpeg(2)), cost="0.07")]
    job = pictures(rich)
    token, (claimed,) = moves.claim(State.QUEUED, 1, "providers_sync")
    slow = submit.script(claimed, token)
    call = next(slow)
    call = slow.send(call())
    answer = call()
    lapse(job)

    run_until(job)
    with contextlib.suppress(StopIteration):
        slow.send(answer)

    first, second = job.attempts.order_by("n")
    assert (first.outcome, second.outcome) == (Outcome.ABANDONED, Outcome.SUCCEEDED)
    assert (first.provider_cost, second.provider_cost) == (answer.cost, play.answers[1].cost)  # type: ignore[union-attr]
    assert (first.made, first.discard_at) == ({}, None)
    assert (job.assets.count(), Asset.objects.get().attempt_id) == (1, second.pk)
    assert ledger.balance(rich.pk).balance == 100
    books.check()


def test_nobody_gets_a_picture_after_a_cancel(rich: User, play: Play) -> None:
    job = pictures(rich)
    token, (claimed,) = moves.claim(State.QUEUED, 1, "providers_sync")
    script = submit.script(claimed, token)
    call = script.send(next(script)())
    jobs.cancel(user=rich, job_id=job.pk)

    drive(script, call)

    job.refresh_from_db()
    assert (job.state, job.assets.count()) == (State.CANCELED, 0)
    attempt = Attempt.objects.get()
    assert (attempt.outcome, attempt.made) == (Outcome.ABANDONED, {})
    assert attempt.provider_cost is not None
    assert ledger.balance(rich.pk).available == 105
    books.check()


def test_a_refusal_ends_and_what_passes_is_sent_again(rich: User, play: Play) -> None:
    play.answers = [Unavailable("429"), Unavailable("503"), Rejected("no", code="moderated", cost=Decimal("0.02"))]

    job = run_until(pictures(rich))

    assert (job.state, job.error_code, len(play.orders)) == (State.FAILED, "moderated", 3)
    refused = job.attempts.get(n=3)
    assert (refused.provider_cost, refused.cost_unit) == (Decimal("0.02"), "USD")
    assert ledger.balance(rich.pk).available == 105
    books.check()


@pytest.mark.parametrize(
    ("came", "kept"),
    [((600, 400), (300, 300)), ((300, 300), (300, 300)), ((200, 400), (200, 200)), ((1200, 301), (300, 300))],
)
def test_a_picture_is_cropped_and_scaled_down_to_what_was_ordered(
    rich: User, play: Play, came: tuple[int, int], kept: tuple[int, int]
) -> None:
    play.treatment = Treatment(size=(300, 300))
    original = encoded(portrait(1, came), "PNG")
    play.answers = [made(data_url(original))]

    job = run_until(pictures(rich))

    asset = job.assets.select_related("file", "thumbnail").get()
    assert asset.file is not None
    with storage.open(asset.file.key) as file:
        stored = file.read()
    picture = Image.open(io.BytesIO(stored))
    assert (asset.width, asset.height) == picture.size == kept
    assert (stored == original) == (came == kept)
    assert (asset.content_type, asset.bytes) == (f"image/{(picture.format or '').lower()}", len(stored))
    assert asset.thumbnail is not None
    with storage.open(asset.thumbnail.key) as file:
        assert Image.open(file).size == kept
    books.check()


def test_a_better_wording_stands_beside_the_customers(rich: User, play: Play) -> None:
    play.prepared = {"optimized_prompt": "A small boat of white paper, still water, dawn", "uploaded": 1}
    play.answers = [Unknown("cut off"), made(seed=7)]

    job = run_until(pictures(rich, optimize_prompt=True))

    assert job.params["prompt"] == PROMPT
    assert job.data == {"optimized_prompt": "A small boat of white paper, still water, dawn", "seed": 7}
    assert [order.params["optimized_prompt"] for order in play.orders] == [job.data["optimized_prompt"]] * 2
    assert ["optimized_prompt" in order.params for order in play.prepares] == [False, True]
    assert job.attempts.order_by("n")[0].request["prepared"] == {"uploaded": 1}
    books.check()


def test_a_wording_that_we_would_not_take_from_a_customer_is_dropped(rich: User, play: Play) -> None:
    BlockedTerm.objects.create(term="sea monster", category="violence")
    play.prepared = {"optimized_prompt": "A boat and a Sea-Monster"}

    job = run_until(pictures(rich, optimize_prompt=True))

    assert (job.state, job.data) == (State.SUCCEEDED, {"optimized_prompt": None})
    assert [order.params["optimized_prompt"] for order in play.orders] == [None]
    assert play.orders[0].params["prompt"] == PROMPT
    assert "Sea" not in str(job.attempts.get().request)
    books.check()


def test_a_deadline_that_finds_the_answer_written_down_gives_back(rich: User, play: Play) -> None:
    job = pictures(rich)
    token, (claimed,) = moves.claim(State.QUEUED, 1, "providers_sync")
    script = submit.script(claimed, token)
    call = script.send(next(script)())
    script.send(call())
    script.close()
    past = Now() - timedelta(seconds=1)
    Generation.objects.update(deadline_at=past, lease_until=past)

    run_until(job)

    assert (job.state, job.error_code) == (State.FAILED, "deadline_exceeded")
    attempt = job.attempts.get()
    assert (attempt.outcome, attempt.made, attempt.discard_at) == (Outcome.ABANDONED, {}, None)
    assert (Asset.objects.count(), ledger.balance(rich.pk).available) == (0, 105)
    books.check()

"""Films at KIE, from the order to the stored file: every code, and callbacks of all sorts."""

from __future__ import annotations

import io
import json
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import av
import pytest

from accounts.models import User
from billing import ledger
from core import storage, videos
from generation import jobs
from generation.engine.advance import advance
from generation.models import Asset, Attempt, Generation, Kind, Outcome, State
from generation.providers.kie import signature
from generation.webhooks import handle_kie
from inbox import deliveries
from inbox.deliveries import ECHO
from inbox.deliveries import Outcome as Handled
from inbox.models import Delivery
from sandbox import strips
from tests import books
from tests.generation.material import lapse, order_of, photo_of, run_until, until
from tests.sandbox.process import RunningSandbox

PROMPT = "a paper boat in the rain"
GENERATE = "/runway/generate"


def film(user: User, prompt: str = PROMPT, **params: Any) -> Generation:
    asked = {"prompt": prompt, "aspect_ratio": "1:1"} | params
    return order_of(user, Kind.VIDEO, operation="video.kie", **asked)


def starts(sandbox: RunningSandbox) -> int:
    """Films that KIE bills us for."""
    answers = [r for r in sandbox.requests(path=GENERATE) if r["fault"] is None]
    return len(answers)


def stored(job: Generation) -> tuple[float, set[str], list[str]]:
    """The stored film's seconds, what its frames show, its tracks; every frame decoded."""
    asset = Asset.objects.get(generation=job)
    assert asset.file is not None
    assert asset.thumbnail is not None
    with storage.open(asset.file.key) as file:
        content = file.read()
    assert len(content) == asset.bytes
    with av.open(io.BytesIO(content)) as container:
        shown = {strips.read(frame.to_image()) for frame in container.decode(video=0)}
        return (container.duration or 0) / 1_000_000, shown, [s.codec_context.name for s in container.streams]


def call_back(sandbox: RunningSandbox, *, age_s: int = 0) -> list[str]:
    """Let every callback that KIE would have made come in by the door, and be handled; what became of each."""
    for told in reversed(sandbox.deliveries(provider="kie")):
        body = told["body"].encode()
        stamp = str(int(time.time()) - age_s)
        signed = signature("kie_key_example", json.loads(body)["data"]["task_id"], stamp)
        headers = {"X-Webhook-Timestamp": stamp, "X-Webhook-Signature": signed}
        token = parse_qs(urlsplit(told["url"]).query)["token"][0]
        deliveries.receive("kie", headers, body, token=token)
    deliveries.handle_due()
    return list(Delivery.objects.order_by("created_at").values_list("state", flat=True))


def finished(sandbox: RunningSandbox) -> Any:
    return until(lambda: sandbox.deliveries(provider="kie"), "KIE has finished and called back")


def nothing_spent(user: User) -> None:
    assert ledger.balance(user.pk).available == 105
    books.check()


# --- The road ---------------------------------------------------------------------------------------------------------


def test_eight_seconds_are_made_cut_stored_and_charged(rich: User, sandbox: RunningSandbox) -> None:
    job = run_until(film(rich, duration=8, triggers=["soap", "pages"]))

    assert (job.state, job.price) == (State.SUCCEEDED, 30)
    wording = job.data["optimized_prompt"]
    assert wording.startswith("ASMR video: a paper boat in the rain")
    seconds, shown, tracks = stored(job)
    assert seconds == pytest.approx(8, abs=0.1)
    assert (shown, tracks) == ({strips.fingerprint(wording)}, ["h264", "aac"])
    asset = Asset.objects.get()
    assert (asset.content_type, asset.width, asset.height) == ("video/mp4", 720, 720)
    assert asset.duration_s == pytest.approx(8, abs=0.1)
    assert (ledger.balance(rich.pk).available, starts(sandbox)) == (75, 1)
    books.check()


def test_five_seconds_from_a_photo(rich: User, sandbox: RunningSandbox) -> None:
    request = jobs.Request(
        kind=Kind.VIDEO, operation="video.kie", params={"prompt": PROMPT}, photo_ids=[photo_of(rich).pk], consent=True
    )
    job = run_until(jobs.create(user=rich, request=request))

    assert job.state == State.SUCCEEDED
    seconds, shown, _ = stored(job)
    assert (seconds, shown) == (pytest.approx(5, abs=0.1), {strips.fingerprint(PROMPT)})
    asset = Asset.objects.get()
    assert (asset.width, asset.height) == (720, 960)  # the photo's 3:4
    assert ledger.balance(rich.pk).available == 85
    books.check()


# --- Codes ------------------------------------------------------------------------------------------


def test_a_film_that_is_too_late_is_released_and_not_kept(rich: User, sandbox: RunningSandbox, settings: Any) -> None:
    settings.GENERATION_DEADLINES_S = settings.GENERATION_DEADLINES_S | {"video": 2}
    job = run_until(film(rich, "sandbox:late and a boat"))
    assert (job.state, job.error_code) == (State.FAILED, "deadline_exceeded")
    sandbox.advance(20)
    finished(sandbox)

    call_back(sandbox)
    attempt = job.attempts.get()

    def discarded() -> bool:
        advance()
        attempt.refresh_from_db()
        return attempt.discarded_at is not None

    until(discarded, "what came late is let go")
    assert not Asset.objects.exists()
    nothing_spent(rich)


@pytest.mark.parametrize(
    ("mode", "code"), [("402", "provider_unavailable"), ("422", "provider_rejected"), ("451", "photo_refused")]
)
def test_codes_that_end_a_job(rich: User, sandbox: RunningSandbox, mode: str, code: str) -> None:
    sandbox.fault("kie", mode, path=GENERATE)
    job = run_until(film(rich))

    assert (job.state, job.error_code) == (State.FAILED, code)
    assert starts(sandbox) == 0
    nothing_spent(rich)


@pytest.mark.parametrize("mode", ["455", "503"])
def test_codes_that_pass(rich: User, sandbox: RunningSandbox, mode: str) -> None:
    sandbox.fault("kie", mode, path=GENERATE)
    job = run_until(film(rich))

    assert job.state == State.SUCCEEDED
    assert [a.outcome for a in job.attempts.order_by("n")] == [Outcome.NOT_STARTED, Outcome.SUCCEEDED]
    books.check()


def test_code_408_leaves_a_doubt_and_one_more_start(rich: User, sandbox: RunningSandbox) -> None:
    sandbox.fault("kie", "408", path=GENERATE)
    job = run_until(film(rich))

    assert job.state == State.SUCCEEDED
    assert [a.outcome for a in job.attempts.order_by("n")] == [Outcome.UNKNOWN, Outcome.SUCCEEDED]
    books.check()


@pytest.mark.parametrize("mode", ["401", "422", "truncated"])
def test_looks_that_fail_end_nothing(rich: User, sandbox: RunningSandbox, mode: str) -> None:
    sandbox.fault("kie", mode, count=2, path="/record-detail")

    assert run_until(film(rich)).state == State.SUCCEEDED
    books.check()


# --- Callbacks --------------------------------------------------------------------------------------------------------


@pytest.fixture
def patient(settings: Any) -> Any:
    """Nobody looks by himself."""
    settings.GENERATION_POLL_MIN_S = settings.GENERATION_POLL_MAX_S = 600
    return settings


def submitted(job: Generation) -> Generation:
    return run_until(job, State.RUNNING)


def test_a_callback_makes_us_look_and_doubles_change_nothing(rich: User, sandbox: RunningSandbox, patient: Any) -> None:
    job = submitted(film(rich, "sandbox:duplicate and a boat"))
    assert len(finished(sandbox)) == 5

    assert call_back(sandbox) == ["processed"]
    assert Delivery.objects.get().times_received == 5
    run_until(job)

    assert job.state == State.SUCCEEDED
    assert call_back(sandbox) == ["processed"]
    job.refresh_from_db()
    assert (job.state, Attempt.objects.get().discard_at) == (State.SUCCEEDED, None)
    assert ledger.balance(rich.pk).available == 85
    books.check()


@pytest.mark.parametrize("lie", [{"code": 500, "msg": "failed"}, {"code": 200, "msg": "All generated successfully."}])
def test_what_a_callback_says_is_not_believed(
    rich: User, sandbox: RunningSandbox, patient: Any, lie: dict[str, Any]
) -> None:
    """KIE signs no body: a true signature may be on any verdict and any address."""
    sandbox.tune(speed_s=3600)
    job = submitted(film(rich))
    task = job.attempt.provider_job_id if job.attempt else ""
    data = {"task_id": task, "video_id": "v", "video_url": "http://127.0.0.1:1/evil.mp4", "image_url": ""}

    assert handle_kie(lie | {"data": data}, stale=False) is Handled.PROCESSED
    advance()
    job.refresh_from_db()

    assert job.state == State.RUNNING
    assert ledger.balance(rich.pk).held == 20
    sandbox.advance(3600)
    finished(sandbox)
    call_back(sandbox, age_s=3600)  # stale: as good a hint as a fresh one
    assert Delivery.objects.get().is_stale
    run_until(job)
    assert job.state == State.SUCCEEDED
    books.check()


def test_callbacks_about_nothing_of_ours(db: None) -> None:
    event = {"code": 200, "data": {"task_id": "task-0001"}}

    assert handle_kie({"code": 200, "data": None}, stale=False) is Handled.IGNORED
    assert handle_kie(event, stale=False) is Handled.UNMATCHED
    assert handle_kie(event | {ECHO: "at_" + "0" * 32}, stale=False) is Handled.UNMATCHED


@pytest.mark.parametrize("secret", ["kie_key_example", ""], ids=["signed", "by token alone"])
def test_an_order_never_answered_is_found_by_its_callback(
    rich: User, sandbox: RunningSandbox, settings: Any, secret: str
) -> None:
    settings.KIE_WEBHOOK_SECRET = secret
    settings.KIE_TIMEOUT_S = 0.5
    settings.KIE_RESOLVE_S = 300
    job = run_until(film(rich, "sandbox:hang and a boat"), State.SUBMITTING)
    until(lambda: advance() is not None and Generation.objects.filter(unknown=True).exists(), "nobody can tell")
    settings.KIE_TIMEOUT_S = 20
    finished(sandbox)

    assert call_back(sandbox) == ["processed"]
    job.refresh_from_db()
    assert (job.state, job.unknown) == (State.RUNNING, False)
    run_until(job)

    assert job.state == State.SUCCEEDED
    assert (job.attempts.get().outcome, starts(sandbox)) == (Outcome.SUCCEEDED, 1)
    assert ledger.balance(rich.pk).available == 85
    books.check()


def test_a_callback_for_an_earlier_start_only_costs_us(rich: User, sandbox: RunningSandbox, settings: Any) -> None:
    settings.KIE_TIMEOUT_S = 0.5
    settings.KIE_RESOLVE_S = 0.1
    sandbox.fault("kie", "hang", path=GENERATE, when="after")
    job = film(rich)
    until(lambda: advance() is not None and Generation.objects.filter(unknown=True).exists(), "nobody can tell")
    settings.KIE_TIMEOUT_S = 20
    run_until(job)
    assert job.state == State.SUCCEEDED
    first, second = job.attempts.order_by("n")
    assert (first.outcome, second.outcome) == (Outcome.UNKNOWN, Outcome.SUCCEEDED)
    until(lambda: len(sandbox.deliveries(provider="kie")) == 2, "both are made")

    call_back(sandbox)

    def discarded() -> bool:
        advance()
        first.refresh_from_db()
        return first.discarded_at is not None

    until(discarded, "the first start's film is let go")
    assert first.outcome == Outcome.ABANDONED
    assert Asset.objects.count() == 1
    assert ledger.balance(rich.pk).available == 85
    books.check()


def test_a_callback_that_beats_the_answer_is_adopted(rich: User, sandbox: RunningSandbox) -> None:
    from generation.engine import moves, submit

    job = film(rich)
    token, (claimed,) = moves.claim(State.QUEUED, 1)
    script = submit.script(claimed, token)
    call = script.send(next(script)())
    answer = call()
    finished(sandbox)
    assert call_back(sandbox) == ["processed"]
    job.refresh_from_db()
    assert job.state == State.RUNNING

    with pytest.raises(StopIteration):
        script.send(answer)

    attempt = job.attempts.get()
    assert (attempt.outcome, attempt.provider_job_id) == (Outcome.RUNNING, answer.provider_job_id)
    run_until(job)
    assert job.state == State.SUCCEEDED
    books.check()


def test_a_film_cancelled_under_way_runs_out_at_kie(rich: User, sandbox: RunningSandbox) -> None:
    """KIE can stop nothing: the customer has the credits back, and nothing is kept."""
    sandbox.tune(speed_s=3600)
    job = submitted(film(rich))
    jobs.cancel(user=rich, job_id=job.pk)
    nothing_spent(rich)
    sandbox.advance(3600)
    finished(sandbox)
    call_back(sandbox)
    attempt = job.attempts.get()

    def discarded() -> bool:
        advance()
        attempt.refresh_from_db()
        return attempt.discarded_at is not None

    until(discarded, "it is let go")
    job.refresh_from_db()
    assert (job.state, Asset.objects.count()) == (State.CANCELED, 0)
    nothing_spent(rich)


def test_a_worker_that_died_while_storing_is_followed_by_another(rich: User, sandbox: RunningSandbox) -> None:
    job = run_until(film(rich, duration=8), State.STORING, State.SUCCEEDED)
    lapse(job)
    run_until(job)

    assert job.state == State.SUCCEEDED
    assert stored(job)[0] == pytest.approx(8, abs=0.1)
    assert Asset.objects.count() == 1
    books.check()


def test_a_film_that_a_busy_machine_cannot_play_in_time_is_tried_again(
    rich: User, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tries = videos.inspect, []

    def inspect(*args: Any, **options: Any) -> videos.Film:
        tries.append(1)
        if len(tries) < 5:
            raise videos.TookTooLong
        return real(*args, **options)

    monkeypatch.setattr(videos, "inspect", inspect)
    job = run_until(film(rich))

    assert (job.state, len(tries)) == (State.SUCCEEDED, 5)
    books.check()

"""Callbacks: signed or not, doubled, reordered, unknown, stale; and the ones that beat or replace an answer."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import Any

import pytest

from accounts.models import User
from billing import ledger
from generation.engine.advance import advance
from generation.models import Attempt, Generation, Outcome, State
from generation.providers.magic_hour import signature, verify_webhook
from generation.webhooks import handle_magic_hour
from inbox.deliveries import Outcome as Handled
from inbox.deliveries import Verdict
from tests import books
from tests.generation.material import order, run_until, tell, until
from tests.sandbox.process import RunningSandbox

SECRET = "mh_secret_example"


def event(kind: str, id: str = "cm0", name: str | None = None, status: str = "complete") -> dict[str, Any]:
    return {"type": kind, "payload": {"id": id, "name": name, "status": status}}


@pytest.fixture
def secret(settings: Any) -> Any:
    settings.MAGIC_HOUR_WEBHOOK_SECRET = SECRET
    settings.MAGIC_HOUR_API_KEY = "mhk_test"
    return settings


def signed(body: bytes, at: int, key: str = SECRET) -> dict[str, str]:
    message = f"{at}.".encode() + body
    digest = hmac.new(key.encode(), message, hashlib.sha256).hexdigest()
    return {"Magic-Hour-Event-Signature": digest, "Magic-Hour-Event-Timestamp": str(at)}


def test_the_published_vector_holds() -> None:
    body = b'{"type":"image.completed","payload":{"id":"cm0exampleid01","status":"complete"}}'

    made = signature("mh_secret_example", "1763700000", body)

    assert made == "627f90a9e0512acfc0372d39b7dd647d1d706e708beb35e5debb7f1109d8d44c"


@pytest.mark.parametrize(
    ("skew", "verdict"),
    [
        (0, Verdict.VALID),
        (300, Verdict.VALID),
        (-300, Verdict.VALID),
        (301, Verdict.STALE),
        (-301, Verdict.STALE),
        (3600, Verdict.STALE),
    ],
)
def test_the_tolerance_is_300_s_both_ways(secret: Any, skew: int, verdict: Verdict) -> None:
    now, body = int(time.time()), b'{"type":"image.completed"}'

    assert verify_webhook(signed(body, now + skew), body, now=now) is verdict


def test_forged_and_broken_signatures_are_invalid(secret: Any) -> None:
    now, body = int(time.time()), b'{"type":"image.completed"}'
    good = signed(body, now)

    for headers in (
        {},
        signed(body, now, key="another"),
        signed(body + b" ", now),
        good | {"Magic-Hour-Event-Timestamp": str(now + 1)},
        good | {"Magic-Hour-Event-Timestamp": ""},
        good | {"Magic-Hour-Event-Timestamp": "-1"},
        good | {"Magic-Hour-Event-Timestamp": "9" * 40},
        good | {"Magic-Hour-Event-Signature": "é"},
        {name: value for name, value in good.items() if "Signature" not in name},
    ):
        assert verify_webhook(headers, body, now=now) is Verdict.INVALID
    secret.MAGIC_HOUR_WEBHOOK_SECRET = ""
    assert verify_webhook(good, body, now=now) is Verdict.NOT_CONFIGURED


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"type": "image.deleted", "payload": {"id": "x"}},
        {"type": "ping"},
        {"type": 7, "payload": {"id": "x"}},
        {"type": "image.completed", "payload": []},
        {"type": "image.completed", "payload": {"id": 5}},
        {"type": "image.completed"},
    ],
)
def test_events_that_name_no_job_are_ignored(db: None, said: dict[str, Any]) -> None:
    assert handle_magic_hour(said, stale=False) is Handled.IGNORED


def test_an_event_about_nothing_of_ours_is_unmatched(db: None) -> None:
    assert handle_magic_hour(event("image.completed", "cm0other"), stale=False) is Handled.UNMATCHED
    token = "at_" + "0" * 32
    assert handle_magic_hour(event("image.completed", "cm0other", token), stale=False) is Handled.UNMATCHED


def test_an_event_only_makes_us_look(rich: User, sandbox: RunningSandbox, settings: Any) -> None:
    settings.GENERATION_POLL_MIN_S = settings.GENERATION_POLL_MAX_S = 600
    job = order(rich)
    advance()
    job.refresh_from_db()
    assert job.state == State.RUNNING
    advance()
    until(lambda: tell(sandbox, kind="completed"), "the provider finishes")

    lie = event("image.errored", job.attempt.provider_job_id, status="error")
    assert handle_magic_hour(lie, stale=True) is Handled.PROCESSED
    job.refresh_from_db()
    assert job.state == State.RUNNING
    advance()

    job.refresh_from_db()
    assert job.state == State.SUCCEEDED
    assert set(tell(sandbox)) == {Handled.PROCESSED}  # late and doubled ones change nothing
    job.refresh_from_db()
    assert job.state == State.SUCCEEDED
    assert Attempt.objects.get().discard_at is None
    books.check()


def test_a_hung_submission_is_adopted_by_its_callback(rich: User, sandbox: RunningSandbox, settings: Any) -> None:
    patience_s, settings.MAGIC_HOUR_TIMEOUT_S = settings.MAGIC_HOUR_TIMEOUT_S, 0.5
    settings.MAGIC_HOUR_RESOLVE_S = 300
    job = run_until(order(rich, style_prompt="sandbox:hang", name="Me at_ work"), State.SUBMITTING)
    assert (job.state, job.unknown, job.attempt.provider_job_id) == (State.SUBMITTING, True, None)
    assert ledger.balance(rich.pk).held == 50
    settings.MAGIC_HOUR_TIMEOUT_S = patience_s

    until(lambda: Handled.PROCESSED in tell(sandbox), "a callback names the job")
    job.refresh_from_db()
    assert (job.state, job.unknown) == (State.RUNNING, False)
    run_until(job)

    assert job.state == State.SUCCEEDED
    assert job.attempts.get().outcome == Outcome.SUCCEEDED
    books.check()


def test_a_callback_for_an_earlier_start_only_costs_us(rich: User, sandbox: RunningSandbox, settings: Any) -> None:
    """The first start hung, the second one runs: when the first comes back, it is deleted and its bill noted."""
    sandbox.fault("magic-hour", "hang", path="/v1/ai-headshot-generator", when="after")
    patience_s, settings.MAGIC_HOUR_TIMEOUT_S = settings.MAGIC_HOUR_TIMEOUT_S, 0.5
    settings.MAGIC_HOUR_RESOLVE_S = 0.1
    job = order(rich)
    until(lambda: advance() is not None and Generation.objects.filter(unknown=True).exists(), "nobody can tell")
    settings.MAGIC_HOUR_TIMEOUT_S = patience_s
    run_until(job)
    assert job.state == State.SUCCEEDED
    first, second = job.attempts.order_by("n")
    assert (first.outcome, first.provider_job_id) == (Outcome.UNKNOWN, None)
    assert second.outcome == Outcome.SUCCEEDED

    assert Handled.PROCESSED in tell(sandbox)

    def discarded() -> bool:
        advance()
        first.refresh_from_db()
        return first.discarded_at is not None

    until(discarded, "the first start's picture is deleted")
    assert first.outcome == Outcome.ABANDONED
    assert first.provider_cost == 50
    second.refresh_from_db()
    assert second.outcome == Outcome.SUCCEEDED
    assert second.discard_at is None
    assert ledger.balance(rich.pk).balance == 55
    books.check()


def test_a_callback_that_beats_the_answer_is_adopted(rich: User, sandbox: RunningSandbox, settings: Any) -> None:
    """The submitter has called and not yet heard; the callback takes the job on, and the answer changes nothing."""
    from generation.engine import moves, submit

    job = order(rich)
    token, (claimed,) = moves.claim(State.QUEUED, 1)
    script = submit.script(claimed, token)
    prepared = next(script)()
    call = script.send(prepared)
    answer = call()

    assert until(lambda: tell(sandbox, kind="started"), "the provider starts") == [Handled.PROCESSED]
    job.refresh_from_db()
    assert (job.state, job.attempt.provider_job_id) == (State.RUNNING, answer.provider_job_id)
    with pytest.raises(StopIteration):
        script.send(answer)

    attempt = job.attempts.get()
    assert (attempt.outcome, attempt.discard_at) == (Outcome.RUNNING, None)
    run_until(job)
    assert job.state == State.SUCCEEDED
    books.check()


def test_a_job_cancelled_while_it_is_sent_is_deleted_there(rich: User, sandbox: RunningSandbox) -> None:
    from generation import jobs
    from generation.engine import moves, submit

    job = order(rich)
    token, (claimed,) = moves.claim(State.QUEUED, 1)
    script = submit.script(claimed, token)
    call = script.send(next(script)())
    answer = call()
    jobs.cancel(user=rich, job_id=job.pk)
    assert ledger.balance(rich.pk).available == 105

    with pytest.raises(StopIteration):
        script.send(answer)

    attempt = job.attempts.get()
    assert (attempt.outcome, attempt.provider_job_id) == (Outcome.ABANDONED, answer.provider_job_id)

    def discarded() -> bool:
        advance()
        attempt.refresh_from_db()
        return attempt.discarded_at is not None

    until(discarded, "what was started is deleted")
    assert Generation.objects.get().state == State.CANCELED
    assert attempt.provider_cost == 50
    books.check()


def test_the_last_token_in_the_name_is_ours(rich: User, sandbox: RunningSandbox) -> None:
    from generation.providers import get

    mine, theirs = "at_" + "a" * 32, "at_" + "b" * 32
    callback = get("magic-hour").parse_callback(event("image.completed", "cm0", f"{theirs} {mine}"))

    assert callback is not None
    assert callback.token == mine
    assert json.dumps(callback.provider_job_id) == '"cm0"'

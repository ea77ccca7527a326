"""Pictures and films at xAI under every magic word: one end each, and money, files, mail and our own bill fit it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from accounts.models import User
from audit.models import AuditLog
from billing.models import Hold
from generation.models import Asset, Generation, Kind, State
from notifications.models import Mail
from tests import books
from tests.generation.material import order_of, run_until, until
from tests.sandbox.process import RunningSandbox

MADE, LOST = ("succeeded", "", "captured"), "released"
# word → how the picture ends and what it costs us; how the film ends and what it costs us
ENDS: dict[str, tuple[tuple[str, str, str], str | None, tuple[str, str, str], str | None]] = {
    "lost": (MADE, "0.02", MADE, "0.15"),
    "duplicate": (MADE, "0.02", MADE, "0.15"),
    "slow": (MADE, "0.02", MADE, "0.15"),
    "429": (MADE, "0.02", MADE, "0.15"),
    "500": (MADE, "0.02", MADE, "0.15"),
    "fail": (("failed", "provider_rejected", LOST), None, ("failed", "provider_failed", LOST), None),
    "moderated": (("failed", "moderated", LOST), "0.02", ("failed", "moderated", LOST), "0.15"),
    "withheld": (("failed", "moderated", LOST), "0.02", ("failed", "moderated", LOST), "0.15"),
    "blocked": (("failed", "moderated", LOST), "0.02", ("failed", "moderated", LOST), None),
    "corrupt": (("failed", "bad_output", LOST), "0.02", ("failed", "bad_output", LOST), "0.15"),
    "wrongtype": (("failed", "bad_output", LOST), "0.02", ("failed", "bad_output", LOST), "0.15"),
    "huge": (("failed", "output_too_large", LOST), "0.02", ("failed", "output_too_large", LOST), "0.15"),
}
CASES = [
    *((Kind.IMAGE, word, *ends[:2]) for word, ends in ENDS.items()),
    *((Kind.VIDEO, word, *ends[2:]) for word, ends in ENDS.items()),
]


def make(user: User, kind: Kind, word: str) -> Generation:
    return order_of(
        user, kind, prompt=f"A paper boat sandbox:{word}", **({"duration": 3} if kind is Kind.VIDEO else {})
    )


def assert_ended(job: Generation, end: tuple[str, str, str]) -> None:
    """One end: state and code, the hold, assets if and only if they are paid, one mail, one audit row."""
    job.refresh_from_db()
    assert (job.state, job.error_code, Hold.objects.get(key=job.hold_key).state) == end
    assert Asset.objects.filter(generation=job).count() == (1 if job.state == State.SUCCEEDED else 0)
    (mail,) = Mail.objects.filter(cause=f"generation:{job.pk}:1")
    assert mail.name == ("generation-completed" if job.state == State.SUCCEEDED else "generation-failed")
    trail = AuditLog.objects.filter(entity_type="generation", entity_id=str(job.pk))
    assert trail.filter(action__in=["generation.succeeded", "generation.failed"]).count() == 1
    assert not job.attempts.exclude(made={}).exists()
    books.check()


@pytest.mark.parametrize(("kind", "word", "end", "cost"), CASES, ids=[f"{case[0]}-{case[1]}" for case in CASES])
def test_each_magic_word_has_one_end(
    rich: User, sandbox: RunningSandbox, settings: Any, kind: Kind, word: str, end: Any, cost: str | None
) -> None:
    settings.OUTPUT_MAX_BYTES = settings.OUTPUT_MAX_BYTES | {kind: 3_000_000}

    job = run_until(make(rich, kind, word), within_s=40)

    assert_ended(job, end)
    bills = [attempt.provider_cost for attempt in job.attempts.order_by("n")]
    assert bills[-1] == (None if cost is None else Decimal(cost))
    assert bills[:-1] == [None] * (word in ("429", "500"))
    assert set(job.attempts.values_list("cost_unit", flat=True)) <= {"USD", ""}


@pytest.mark.parametrize("kind", [Kind.IMAGE, Kind.VIDEO])
def test_an_order_that_is_never_answered_is_sent_twice_and_ends_at_its_deadline(
    rich: User, sandbox: RunningSandbox, settings: Any, kind: Kind
) -> None:
    settings.XAI_TIMEOUT_S = settings.XAI_SYNC_TIMEOUT_S = 0.7
    settings.GENERATION_DEADLINES_S = settings.GENERATION_DEADLINES_S | {kind: 4}

    job = run_until(make(rich, kind, "hang"))

    assert_ended(job, ("failed", "deadline_exceeded", LOST))
    assert [attempt.outcome for attempt in job.attempts.all()] == ["unknown"] * 2
    sent = [call for call in sandbox.requests(provider="xai", method="POST") if call["path"].endswith("/generations")]
    assert len(sent) == 2


def test_a_film_that_is_late_is_not_charged_and_its_cost_is_learnt(
    rich: User, sandbox: RunningSandbox, settings: Any
) -> None:
    settings.GENERATION_DEADLINES_S = settings.GENERATION_DEADLINES_S | {"video": 2}

    job = run_until(make(rich, Kind.VIDEO, "late"))
    attempt = job.attempts.get()
    assert_ended(job, ("failed", "deadline_exceeded", LOST))

    def is_discarded() -> bool:
        run_until(job)
        attempt.refresh_from_db()
        return attempt.discarded_at is not None

    until(is_discarded, "what it made is forgotten")
    assert attempt.provider_cost == Decimal("0.15")
    assert_ended(job, ("failed", "deadline_exceeded", LOST))


@pytest.mark.parametrize(
    ("kind", "word", "own"), [("video", "", "0.15"), ("video", "fail", "0"), ("image", "", "0.02")]
)
def test_the_chat_that_reworded_a_prompt_is_in_the_bill(
    rich: User, sandbox: RunningSandbox, kind: str, word: str, own: str
) -> None:
    prompt = f"A paper boat{f' sandbox:{word}' if word else ''}"
    params = {"duration": 3} if kind == "video" else {}

    job = run_until(order_of(rich, Kind(kind), prompt=prompt, optimize_prompt=True, **params))

    assert job.state == (State.FAILED if word else State.SUCCEEDED)
    attempt = job.attempts.get()
    chat = Decimal(attempt.request["prepared"]["cost"])
    assert chat > 0
    assert (attempt.provider_cost, attempt.cost_unit) == (round(Decimal(own) + chat, 6), "USD")
    books.check()

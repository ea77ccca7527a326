"""What a picture or a film at xAI costs us when its prompt was reworded first."""

from __future__ import annotations

from decimal import Decimal

import pytest

from accounts.models import User
from generation.models import Kind, State
from tests import books
from tests.generation.material import order_of, run_until
from tests.sandbox.process import RunningSandbox


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

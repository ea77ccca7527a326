"""Whoever is suspended is shut out; what they have ordered is finished as promised."""

from __future__ import annotations

import pytest

from accounts import standing
from accounts.models import User
from billing import ledger
from generation.models import State
from tests import books
from tests.generation.material import order, run_until
from tests.sandbox.process import RunningSandbox


@pytest.mark.parametrize(
    ("word", "state", "left"), [("", State.SUCCEEDED, 55), (" sandbox:fail", State.FAILED, 105)], ids=["made", "failed"]
)
def test_an_open_job_of_a_suspended_person_ends_as_promised(
    rich: User, support: User, sandbox: RunningSandbox, word: str, state: State, left: int
) -> None:
    job = order(rich, style_prompt=f"warm light{word}")

    standing.suspend(rich, actor=support, reason="Reported by the bank.")
    run_until(job)

    assert job.state == state
    assert job.assets.count() == (state == State.SUCCEEDED)
    balance = ledger.balance(rich.pk)
    assert (balance.balance, balance.held) == (left, 0)
    books.check()

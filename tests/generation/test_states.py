"""The state machine: every pair of states is tried; what the columns may say together is the database's to refuse."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.db.models.functions import Now

from accounts.models import User
from billing import ledger
from core.ids import new_id
from generation.engine import finish, moves
from generation.models import OPEN, TERMINAL, TRANSITIONS, Generation, Outcome, State
from tests import books
from tests.generation.material import order


@pytest.fixture
def job(rich: User, settings: Any) -> Generation:
    settings.MAGIC_HOUR_API_KEY = "mhk_test"
    return order(rich)


def put(job: Generation, state: State) -> None:
    """Set a state by hand, with what the database wants beside it."""
    is_open = state in OPEN
    Generation.objects.filter(pk=job.pk).update(
        state=state,
        next_at=Now() if is_open else None,
        finished_at=None if is_open else Now(),
        error_code="provider_failed" if state == State.FAILED else "",
        lease_token=None,
        lease_until=None,
    )


def with_error(to: State) -> dict[str, Any]:
    if to == State.FAILED:
        return {"error_code": "provider_failed"}
    return {"error_code": "", "finished_at": None, "next_at": Now()} if to in OPEN else {}


@pytest.mark.parametrize("to", State)
@pytest.mark.parametrize("at", State)
def test_only_the_listed_transitions_happen(job: Generation, at: State, to: State) -> None:
    put(job, at)

    moved = moves.move(job.pk, to, where=Q(), **with_error(to))

    job.refresh_from_db()
    assert moved == (to in TRANSITIONS[at])
    assert job.state == (to if moved else at)


def test_terminal_states_lead_nowhere_but_to_a_retry() -> None:
    assert {state: TRANSITIONS[state] for state in TERMINAL} == {
        State.SUCCEEDED: frozenset(),
        State.FAILED: frozenset({State.QUEUED}),
        State.CANCELED: frozenset(),
    }
    assert set(TRANSITIONS) == set(State) == {*OPEN, *TERMINAL}


@pytest.mark.parametrize(
    "columns",
    [
        {"state": "lost"},
        {"price": 0},
        {"round": 5},
        {"progress": 101},
        {"finished_at": Now()},
        {"next_at": None},
        {"lease_token": new_id()},
        {"unknown": True},
        {"error_code": "x"},
        {"deleted_at": Now()},
        {"state": State.FAILED, "next_at": None, "finished_at": Now()},
        {"state": State.SUCCEEDED, "next_at": None},
        {
            "state": State.SUCCEEDED,
            "next_at": None,
            "finished_at": Now(),
            "lease_token": new_id(),
            "lease_until": Now(),
        },
    ],
)
def test_the_database_refuses_a_row_that_contradicts_itself(job: Generation, columns: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Generation.objects.filter(pk=job.pk).update(**columns)


@pytest.mark.parametrize("state", TERMINAL)
def test_every_end_on_an_ended_job_does_nothing(job: Generation, rich: User, state: State) -> None:
    put(job, state)
    token = new_id()

    assert not finish.succeed(job.pk, token=token, outputs=[])
    assert not finish.fail(job.pk, code="provider_failed", where=Q())
    assert not finish.cancel(job.pk, where=Q())

    assert ledger.balance(rich.pk).held == 50


def test_a_lease_that_is_not_ours_moves_nothing(job: Generation) -> None:
    token, (claimed,) = moves.claim(State.QUEUED, 1)
    other = moves.mine(new_id())

    assert not moves.move(claimed.pk, State.SUBMITTING, where=other)
    assert not moves.put_back(claimed.pk, new_id(), after_s=0)
    assert not moves.renew(claimed.pk, new_id())
    assert not finish.fail(claimed.pk, code="provider_failed", where=other)
    assert finish.fail(claimed.pk, code="provider_failed", where=moves.mine(token))
    books.check()


def test_a_failure_before_any_attempt_releases(job: Generation, rich: User) -> None:
    assert finish.fail(job.pk, code="provider_unavailable", where=Q(), outcome=Outcome.ABANDONED)

    job.refresh_from_db()
    assert (job.error_code, job.error_message) == ("provider_unavailable", finish.REASONS["provider_unavailable"])
    assert ledger.balance(rich.pk).available == 105
    books.check()


def test_every_reason_fits_its_columns() -> None:
    assert all(len(code) <= 40 and len(text) <= 300 and text.endswith(".") for code, text in finish.REASONS.items())

"""Writing down what a provider said to a submission, whoever holds the job by then."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models.functions import Now

from generation import providers
from generation.engine import moves, orders, stages, throughput
from generation.models import Attempt, Generation, Outcome, State
from generation.providers.base import Provider, Submitted, Unknown

log = structlog.get_logger("engine")

T = TypeVar("T")

_RECORD_FOR_S = 20


def insist(record: Callable[[], T]) -> T:
    """Write down what the provider said even if the database is just restarting: the id is worth a job's price."""
    give_up = time.monotonic() + _RECORD_FOR_S
    while True:
        try:
            return record()
        except (OperationalError, InterfaceError):
            connection.close()
            if time.monotonic() > give_up:
                raise
            time.sleep(0.5)


def running(
    job: Generation, token: UUID, attempt: Attempt, provider: Provider, submitted: Submitted, began: float
) -> None:
    """The provider gave an id. If the job is not ours any more, what it makes is to be deleted."""
    throughput.report(provider.code, answered=True)
    with transaction.atomic():
        ours = moves.move(
            job.pk,
            State.RUNNING,
            where=moves.mine(token),
            next_at=Now() + moves.seconds(settings.GENERATION_POLL_MIN_S),
        )
        # Not ours any more: a callback was quicker and the job runs on this attempt, or it has ended without us.
        goes_on = Generation.objects.filter(
            pk=job.pk, attempt=attempt, state__in=[State.RUNNING, State.STORING, State.SUCCEEDED]
        )
        is_used = Attempt.objects.filter(pk=attempt.pk, outcome=Outcome.SUCCEEDED)
        changes: dict[str, Any] = {}
        if ours:
            changes = {"outcome": Outcome.RUNNING}
        elif not goes_on.exists() and not is_used.exists():
            changes = {"outcome": Outcome.ABANDONED, "discard_at": Now()}
        _write(attempt, provider, submitted, began, **changes)


def made(
    job: Generation, token: UUID, attempt: Attempt, provider: Provider, submitted: Submitted, began: float
) -> State | None:
    """The provider has done it. Whoever holds the job goes on from what is written down; a late answer only costs.

    Returns the state that the job is in by our doing: `storing`, `queued` for its next stage, or None.
    """
    throughput.report(provider.code, answered=True)
    step: dict[str, Any] = {"lease_until": Now() + moves.lease(), "progress": 90, "step": "storing"}
    with transaction.atomic():
        if not orders.is_last_stage(job):
            state = State.QUEUED if stages.go_on(job, attempt, submitted.outputs, where=moves.mine(token)) else None
        else:
            ours = moves.move(job.pk, State.STORING, where=moves.mine(token), origins=[State.SUBMITTING], **step)
            state = State.STORING if ours else None
        _write(attempt, provider, submitted, began)
        undecided = Attempt.objects.filter(pk=attempt.pk, outcome__in=[Outcome.PENDING, Outcome.UNKNOWN])
        if state is State.STORING:
            job.attempt = attempt
            attempt.made = {"outputs": list(submitted.outputs), "data": dict(submitted.data)}
            undecided.update(outcome=Outcome.RUNNING, made=attempt.made)
        elif state is None:
            undecided.update(outcome=Outcome.ABANDONED, discard_at=Now() if submitted.provider_job_id else None)
    return state


def unknown(job: Generation, token: UUID, attempt: Attempt, error: Unknown, began: float) -> None:
    """Nobody can tell whether it started: keep the hold, wait for a callback as long as one can come."""
    throughput.report(job.provider, answered=False)
    window_s = providers.get(job.provider).resolve_window_s
    with transaction.atomic():
        Attempt.objects.filter(pk=attempt.pk, outcome=Outcome.PENDING).update(
            outcome=Outcome.UNKNOWN,
            answered_at=Now(),
            latency_ms=ms(began),
            error_code="unknown",
            error_message=error.message[:300],
            **billed(attempt, error.cost),
        )
        moves.put_back(job.pk, token, after_s=window_s, unknown=True)
    log.warning("submission_unknown", generation=str(job.pk), attempt=str(attempt.pk), error=error.message)


def _write(attempt: Attempt, provider: Provider, submitted: Submitted, began: float, **changes: Any) -> None:
    Attempt.objects.filter(pk=attempt.pk).update(
        provider_job_id=submitted.provider_job_id,
        answer=dict(submitted.answer),
        answered_at=Now(),
        latency_ms=ms(began),
        **{"cost_unit": provider.cost_unit, **billed(attempt, submitted.cost), **changes},
    )


def billed(attempt: Attempt, cost: Decimal | None) -> dict[str, Any]:
    """What the attempt is to say of its cost."""
    return bill(attempt.provider, attempt.request.get("prepared", {}).get("cost"), cost)


def bill(provider: str, prepared: str | None, cost: Decimal | None) -> dict[str, Any]:
    """What an attempt is to say of its cost: what its order is billed in all, on top of what preparing it was."""
    if cost is None:
        return {}
    return {"provider_cost": Decimal(prepared or 0) + cost, "cost_unit": providers.get(provider).cost_unit}


def ms(began: float) -> int:
    """Milliseconds since."""
    return int((time.monotonic() - began) * 1000)

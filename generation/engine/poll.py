"""Looking at running jobs. A callback only makes a look come sooner; everything works without one."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db.models import F
from django.db.models.functions import Now

from core.killpoints import reach
from generation import providers
from generation.engine import answers, finish, moves, orders, stages, store, throughput
from generation.engine.scripts import Script
from generation.models import Attempt, Generation, Outcome, State
from generation.providers.base import ProviderError, Seen, Unavailable

log = structlog.get_logger("engine")

_MISSES = 5


def interval_s(age_s: float) -> float:
    """How long until the next look at a job that was submitted so long ago: a quarter of its age, within bounds.

    Units: seconds.
    """
    return float(min(settings.GENERATION_POLL_MAX_S, max(settings.GENERATION_POLL_MIN_S, age_s / 4)))


def script(job: Generation, token: UUID, now: datetime) -> Script:
    """Look at one running job that we hold under `token`. `now` is the database's."""
    attempt = job.attempt
    if attempt is None or attempt.provider_job_id is None:
        raise AssertionError(f"running job {job.pk} has no provider id")
    provider = providers.get(attempt.provider)
    wait_s = interval_s((now - attempt.created_at).total_seconds())
    if throughput.is_open(provider.code):
        moves.put_back(job.pk, token, after_s=wait_s)
        return
    if held_back_s := throughput.take(provider.code):
        moves.put_back(job.pk, token, after_s=held_back_s)
        return
    reach("generation.poll.claimed")
    try:
        seen: Seen = yield partial(provider.poll, attempt.provider_job_id)
    except ProviderError as error:
        throughput.report(provider.code, answered=False)
        log.warning("poll_failed", generation=str(job.pk), error=error.message)
        after_s = error.retry_after_s if isinstance(error, Unavailable) and error.retry_after_s else 0
        moves.put_back(job.pk, token, after_s=max(after_s, wait_s), unknown=True)
        return
    throughput.report(provider.code, answered=True)
    reach("generation.poll.answered")
    _note(attempt, seen)
    match seen.status:
        case "running":
            progress = max(job.progress, ((job.stage - 1) * 100 + seen.progress) // orders.stages(job))
            moves.put_back(job.pk, token, after_s=wait_s, unknown=False, progress=progress, step="rendering")
        case "succeeded" if not orders.is_last_stage(job):
            if stages.go_on(job, token, attempt, seen.outputs):
                reach("generation.stage.queued")
        case "succeeded":
            step: dict[str, Any] = {"lease_until": Now() + moves.lease(), "progress": 90, "step": "storing"}
            if moves.move(job.pk, State.STORING, where=moves.mine(token), **step):
                reach("generation.poll.storing")
                yield from store.script(job, token, seen=seen)
        case "failed":
            code = seen.error.code if seen.error else "provider_failed"
            detail = seen.error.message if seen.error else ""
            finish.fail(job.pk, code=code, where=moves.mine(token), detail=detail)
        case "canceled":
            finish.fail(job.pk, code="provider_canceled", where=moves.mine(token))
        case "gone":
            _gone(job, token, attempt, wait_s)


def _note(attempt: Attempt, seen: Seen) -> None:
    """Keep what the provider says of cost and state, whoever holds the job by now."""
    changes: dict[str, Any] = {"polls": F("polls") + 1, **answers.billed(attempt, seen.cost)}
    if seen.answer:
        changes["answer"] = dict(seen.answer)
    if seen.error is not None:
        changes |= {"error_code": seen.error.code, "error_message": seen.error.message[:300]}
    Attempt.objects.filter(pk=attempt.pk).update(**changes)


def _gone(job: Generation, token: UUID, attempt: Attempt, wait_s: float) -> None:
    """The provider knows no such job. It may only be late to know; after a few looks it is lost."""
    if attempt.misses + 1 >= _MISSES:
        finish.fail(job.pk, code="provider_lost", where=moves.mine(token), outcome=Outcome.FAILED)
        return
    Attempt.objects.filter(pk=attempt.pk).update(misses=F("misses") + 1)
    moves.put_back(job.pk, token, after_s=wait_s, unknown=True)

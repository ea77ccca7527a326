"""Submissions that nobody can tell about: made `unknown`, waited out, resent once under the same hold."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from django.db import connection, transaction
from django.db.models import F, Q
from django.db.models.functions import Greatest, Now

import audit
from generation import providers
from generation.engine import finish, moves
from generation.engine.submit import MAX_STARTS
from generation.models import Attempt, Generation, Outcome, State

log = structlog.get_logger("engine")

# Outcomes of attempts that may have cost us a start at the provider.
_MAY_HAVE_STARTED = [outcome for outcome in Outcome if outcome is not Outcome.NOT_STARTED]


def settle(queue: str = "providers") -> int:
    """Move every doubtful submission of a queue on. Only queries; returns how many rows changed.

    Idempotent: by state, flag and the database's clock.
    """
    changed = sum(_alone(_doubt, job_id) for job_id in _due(queue, Q(unknown=False, lease_until__lt=Now())))
    waited = _due(queue, Q(unknown=True, next_at__lte=Now()))
    return changed + sum(_alone(_wait_or_resend, job_id) for job_id in waited)


def _alone(act: Callable[[UUID], bool], job_id: UUID) -> bool:
    """One job that cannot be moved on (its provider is gone from the registry, say) must not stop the engine."""
    try:
        return act(job_id)
    except Exception:
        log.exception("doubt_not_settled", generation=str(job_id))
        connection.close_if_unusable_or_obsolete()
        return False


def _due(queue: str, where: Q) -> list[UUID]:
    found = Generation.objects.filter(where, queue=queue, state=State.SUBMITTING, deadline_at__gt=Now())
    return list(found.order_by("next_at").values_list("pk", flat=True)[:200])


def _doubt(job_id: UUID) -> bool:
    """Whoever was submitting is gone: the call may have been made. Counted from the attempt, not from now."""
    with transaction.atomic():
        lapsed = Generation.objects.filter(pk=job_id, state=State.SUBMITTING, unknown=False, lease_until__lt=Now())
        job = lapsed.select_related("attempt").select_for_update(of=("self",), no_key=True).first()
        if job is None or job.attempt is None:
            return False
        window = timedelta(seconds=providers.get(job.provider).resolve_window_s)
        Attempt.objects.filter(pk=job.attempt.pk, outcome=Outcome.PENDING).update(outcome=Outcome.UNKNOWN)
        Generation.objects.filter(pk=job.pk).update(
            unknown=True,
            lease_token=None,
            lease_until=None,
            next_at=Greatest(Now(), job.attempt.created_at + window),
        )
    log.warning("submission_unknown", generation=str(job_id), error="the worker was lost")
    return True


def _wait_or_resend(job_id: UUID) -> bool:
    """No callback came in time: start once more, or, after the last start, leave it to callbacks and the deadline.

    What this machine's like did itself calls nobody back, so there the last start is the end.
    """
    with transaction.atomic():
        waited = Generation.objects.filter(pk=job_id, state=State.SUBMITTING, unknown=True, next_at__lte=Now())
        job = waited.select_for_update(of=("self",), no_key=True).first()
        if job is None:
            return False
        tries = Attempt.objects.filter(generation=job, round=job.round, stage=job.stage)
        starts = tries.filter(outcome__in=_MAY_HAVE_STARTED).count()
        if starts >= MAX_STARTS and job.queue == "bulk":
            finish.fail(job.pk, code="provider_failed", where=Q(unknown=True), outcome=Outcome.UNKNOWN)
        elif starts >= MAX_STARTS:
            Generation.objects.filter(pk=job.pk).update(next_at=F("deadline_at"))
        else:
            moves.move(job.pk, State.QUEUED, where=Q(unknown=True), next_at=Now())
    log.warning("submission_unresolved", generation=str(job_id), starts=starts)
    return True


@audit.writes("generation")
def adopt(attempt: Attempt, provider_job_id: str) -> bool:
    """A callback names an attempt we never got an id for: take the id, and let the job run on it if it waits for it.

    Returns whether the job now runs. Otherwise what the attempt made is to be deleted and its cost learnt.
    Idempotent: an id is taken once.
    Locks: the job.
    """
    with transaction.atomic():
        job = Generation.objects.select_for_update(of=("self",), no_key=True).get(pk=attempt.generation_id)
        current = Q(attempt=attempt, round=attempt.round, stage=attempt.stage)
        runs = moves.move(job.pk, State.RUNNING, where=current, next_at=Now())
        taken: dict[str, Any] = {"provider_job_id": provider_job_id, "outcome": Outcome.RUNNING}
        if not runs:
            taken |= {"outcome": Outcome.ABANDONED, "discard_at": Now()}
        Attempt.objects.filter(pk=attempt.pk, provider_job_id=None).update(**taken)
        audit.record(
            "generation.adopted",
            job,
            user=job.user_id,
            new={"state": State.RUNNING} if runs else None,
            metadata={"attempt": attempt.pk, "provider_job_id": provider_job_id, "runs": runs},
        )
    return runs

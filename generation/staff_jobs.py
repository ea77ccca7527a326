"""What staff do to a customer's job: each leaves who and why beside what the job's own function records."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q

import audit
from core.errors import Conflict
from generation import jobs
from generation.engine import finish
from generation.errors import TooLateToCancel
from generation.models import Generation, State
from generation.models.jobs import TERMINAL


@audit.writes("generation")
def retry(job_id: UUID, *, actor: Any, reason: str) -> Generation:
    """Order a failed job again in its owner's name: the price is held anew, at most what it was.

    Raises: as jobs.retry.
    Enqueues: the workers of its queue.
    """
    with transaction.atomic():
        owner = Generation.objects.select_related("user").get(pk=job_id).user
        job = jobs.retry(user=owner, job_id=job_id)
        _note("generation.retry_ordered", job, actor=actor, reason=reason)
    return job


@audit.writes("generation")
def cancel(job_id: UUID, *, actor: Any, reason: str) -> Generation:
    """Cancel an open job, however often its owner has cancelled today; the hold is released.

    Idempotent: by state.
    Locks: the job, then its hold's wallet.
    Raises: TooLateToCancel once its output is being stored.
    """
    with transaction.atomic():
        job = _locked(job_id)
        if job.state == State.CANCELED:
            return job
        if job.state == State.STORING or job.state in TERMINAL:
            raise TooLateToCancel(charged=jobs.charged(job))
        finish.cancel(job.pk, where=Q())
        _note("generation.cancel_ordered", job, actor=actor, reason=reason)
        job.refresh_from_db()
    return job


@audit.writes("generation")
def release(job_id: UUID, *, actor: Any, reason: str) -> Generation:
    """End an open job as failed whatever holds it up, and give its credits back. What a provider still makes is ours.

    Locks: the job, then its hold's wallet.
    Raises: Conflict for one that has ended.
    """
    with transaction.atomic():
        job = _locked(job_id)
        if not job.is_open:
            raise Conflict("This job has ended; nothing is held for it.", charged=jobs.charged(job))
        finish.fail(job.pk, code="released", where=Q(), detail=reason)
        _note("generation.release_ordered", job, actor=actor, reason=reason)
        job.refresh_from_db()
    return job


def _locked(job_id: UUID) -> Generation:
    job: Generation = Generation.objects.select_for_update(of=("self",), no_key=True).get(pk=job_id)
    return job


def _note(action: str, job: Generation, *, actor: Any, reason: str) -> None:
    audit.record(action, job, user=job.user_id, actor_id=actor.pk, metadata={"reason": reason, "round": job.round})

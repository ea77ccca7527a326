"""What nobody else ends: jobs past their deadline, the bytes of deleted photos."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from core import jobs
from generation import photos, uploads
from generation.engine import finish, inputs, moves
from generation.models import Generation, Outcome

_BATCH = 200
_ARCHIVES_STAY = timedelta(days=1)


def sweep() -> int:
    """Do all of it. Returns how much was done.

    Idempotent: by state and the database's clock.
    Enqueues: generation.advance, since an ended job may leave something to delete at the provider.
    """
    ended = end_overdue()
    if ended:
        jobs.wake("generation.advance")
    return ended + photos.purge_deleted() + purge_archives()


def purge_archives() -> int:
    """Let archives go a day after their jobs' end: until then a failed one may be tried again. Returns how many."""
    over = Generation.objects.filter(archive__isnull=False, finished_at__lte=Now() - _ARCHIVES_STAY)
    with transaction.atomic():
        locked = over.select_for_update(of=("self",), no_key=True, skip_locked=True).order_by("pk")[:_BATCH]
        return uploads.let_archives_go(Generation.objects.filter(pk__in=[job.pk for job in locked]))


def end_overdue() -> int:
    """Fail and release every open job past its deadline; one under a live store lease is left alone."""
    overdue = Q(deadline_at__lte=Now()) & moves.can_be_ended()
    found = Generation.objects.open().filter(overdue).order_by("deadline_at")[:_BATCH]
    by_code: dict[str, list[UUID]] = defaultdict(list)
    for job_id, was_submitted, step in found.values_list("pk", "was_submitted", "step"):
        by_code[_why(was_submitted, step)].append(job_id)
    how: dict[str, Any] = {"where": overdue, "outcome": Outcome.ABANDONED}
    return sum(finish.fail_all(job_ids, code=code, **how) for code, job_ids in by_code.items())


def _why(was_submitted: bool, step: str) -> str:
    """Why a job was not ready in time: somebody took it, our storage was away, or nobody took it."""
    if was_submitted:
        return "deadline_exceeded"
    return "photo_unavailable" if step.startswith(inputs.READING) else "provider_unavailable"

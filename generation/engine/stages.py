"""A job that takes several orders: the end of one is the beginning of the next, under the same hold and deadline."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

import audit
from core import jobs
from generation.engine import finish, moves, orders
from generation.models import Attempt, Generation, Outcome, State


@audit.writes("generation")
def go_on(job: Generation, token: UUID, attempt: Attempt, outputs: Sequence[str]) -> bool:
    """Queue the stage after the one that `attempt` has done; it begins from what this one made. Returns whether it is.

    Idempotent: by the job's state and lease.
    Enqueues: the workers of its queue.
    """
    if not outputs:
        finish.fail(job.pk, code="bad_output", where=moves.mine(token), detail=f"stage {job.stage} made nothing")
        return False
    progress = 100 * job.stage // orders.stages(job)
    with transaction.atomic():
        origins = [State.SUBMITTING, State.RUNNING]
        next_stage = {"stage": job.stage + 1, "next_at": Now(), "progress": progress}
        if not moves.move(job.pk, State.QUEUED, where=moves.mine(token), origins=origins, **next_stage):
            return False
        made = {"outputs": [outputs[0]]}
        Attempt.objects.filter(pk=attempt.pk).update(outcome=Outcome.SUCCEEDED, made=made)
        audit.record(
            "generation.stage_done",
            job,
            user=job.user_id,
            old={"stage": job.stage},
            new={"stage": job.stage + 1},
            metadata={"round": job.round, "attempt": attempt.pk},
        )
        jobs.wake(moves.WAKES[job.queue])
    return True

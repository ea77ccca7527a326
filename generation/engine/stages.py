"""A job that takes several orders: the end of one is the beginning of the next, under the same hold and deadline."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

import audit
from core import jobs
from generation.engine import finish, moves, orders
from generation.models import Attempt, Generation, Outcome, State


@audit.writes("generation")
def go_on(job: Generation, attempt: Attempt, outputs: Sequence[str], *, where: Q) -> bool:
    """Queue the stage after the one that `attempt` has done; it begins from what this one made. Returns whether it is.

    `where` says on what ground the job is ours.
    Idempotent: by the job's state.
    Enqueues: the workers of its queue.
    """
    if not outputs:
        finish.fail(job.pk, code="bad_output", where=where, detail=f"stage {job.stage} made nothing")
        return False
    progress = 100 * job.stage // orders.stages(job)
    with transaction.atomic():
        origins = [State.SUBMITTING, State.RUNNING]
        next_stage = {"stage": job.stage + 1, "next_at": Now(), "progress": progress}
        if not moves.move(job.pk, State.QUEUED, where=where, origins=origins, **next_stage):
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

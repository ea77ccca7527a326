"""Changing a job's row: always one conditional update, whose count says whether we were the one who decided."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import F, Q
from django.db.models.functions import Least, Now

from core.ids import new_id
from generation.models import OPEN, TRANSITIONS, Generation, State

# The queues that jobs are in, and what wakes the workers of each.
WAKES = {
    "providers": "generation.advance",
    "providers_sync": "generation.advance_sync",
    "bulk": "generation.advance_bulk",
}

_CLAIM = """
WITH due AS MATERIALIZED (
    SELECT id FROM generation_generation
    WHERE queue = %(queue)s AND state = %(state)s AND next_at <= statement_timestamp()
      AND deadline_at > statement_timestamp()
      AND (lease_until IS NULL OR lease_until < statement_timestamp())
    ORDER BY next_at
    LIMIT %(limit)s
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE generation_generation g
SET lease_token = %(token)s, lease_until = statement_timestamp() + %(lease)s
FROM due WHERE g.id = due.id
RETURNING g.id
"""


def lease() -> timedelta:
    """How long a worker may be silent before its jobs are another's."""
    return timedelta(seconds=settings.GENERATION_LEASE_S)


def claim(state: State, limit: int, queue: str = "providers") -> tuple[UUID, list[Generation]]:
    """Take due jobs in this state and queue for one worker: one statement, committed at once. Returns the token too.

    Locks: skips rows that anybody else has locked.
    """
    token = new_id()
    with connection.cursor() as cursor:
        named: dict[str, Any] = {"queue": queue, "state": state.value, "limit": limit}
        named |= {"token": token, "lease": lease()}
        cursor.execute(_CLAIM, named)
        ids = [row[0] for row in cursor.fetchall()]
    jobs = Generation.objects.filter(pk__in=ids, lease_token=token).select_related("attempt").order_by("next_at")
    return token, list(jobs) if ids else []


def mine(token: UUID) -> Q:
    """The job is still under this lease."""
    return Q(lease_token=token)


def can_be_ended() -> Q:
    """Nobody is storing its output at this moment: a job under a live store lease is left alone."""
    return ~Q(state=State.STORING, lease_until__gt=Now())


def move(job_id: UUID, to: State, *, where: Q, origins: Sequence[State] | None = None, **changes: Any) -> bool:
    """Change the state, if the job is still where that is legal and `where` holds. Returns whether it was us.

    Entering a state other than `storing` gives the lease up; ending clears what only open jobs have.
    """
    from_here = [origin for origin in _origins(to) if origins is None or origin in origins]
    return bool(Generation.objects.filter(where, pk=job_id, state__in=from_here).update(**_changes(to, changes)))


def move_all(job_ids: Sequence[UUID], to: State, *, where: Q, **changes: Any) -> list[UUID]:
    """As `move`, in the caller's transaction. Returns which it was us who decided.

    Locks: the jobs, by id.
    """
    found = Generation.objects.filter(where, pk__in=job_ids, state__in=_origins(to))
    ours = list(found.select_for_update(of=("self",), no_key=True).order_by("pk").values_list("pk", flat=True))
    Generation.objects.filter(pk__in=ours).update(**_changes(to, changes))
    return ours


def _origins(to: State) -> list[State]:
    return [origin for origin, targets in TRANSITIONS.items() if to in targets]


def _changes(to: State, changes: dict[str, Any]) -> dict[str, Any]:
    changes = {"state": to, "unknown": False, "step": ""} | changes
    if to not in OPEN:
        changes = {"next_at": None, "finished_at": Now()} | changes
    if to is not State.STORING:
        changes = {"lease_token": None, "lease_until": None} | changes
    return changes


def renew(job_id: UUID, token: UUID, **changes: Any) -> bool:
    """Stretch the lease for the next piece of work, never past one lease after the deadline. False: it is lost."""
    until = Least(Now() + lease(), F("deadline_at") + lease())
    return bool(Generation.objects.filter(mine(token), pk=job_id).update(lease_until=until, **changes))


def put_back(job_id: UUID, token: UUID, *, after_s: float, **changes: Any) -> bool:
    """Give the job up in the state it is in, to be looked at again after a while. False: the lease is lost."""
    found = Generation.objects.filter(mine(token), pk=job_id, state__in=OPEN)
    return bool(found.update(lease_token=None, lease_until=None, next_at=Now() + timedelta(seconds=after_s), **changes))


def backoff_s(tries: int) -> float:
    """2, 4, 8 … 60 s, with jitter so that a herd spreads."""
    ceiling = min(settings.GENERATION_POLL_MAX_S, settings.GENERATION_POLL_MIN_S * 2 ** min(tries, 6) / 2)
    return float(ceiling * random.uniform(0.5, 1))  # noqa: S311  jitter, not a secret


def seconds(count: float) -> timedelta:
    """So many seconds."""
    return timedelta(seconds=count)

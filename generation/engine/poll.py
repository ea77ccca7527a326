"""Looking at running jobs, many at once. A callback only makes a look come sooner; everything works without one.

A look needs no lease: taking a job up for one says when the next is due, so a worker that is lost costs a look. What a
provider says of an attempt is true whoever heard it; it is written down while the job still runs on that attempt.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

import orjson
import structlog
from django.conf import settings
from django.db import connection
from django.db.models import Q
from django.db.models.functions import Now

from core.ids import new_id
from core.killpoints import reach
from generation import providers
from generation.engine import answers, finish, moves, orders, stages, store, throughput
from generation.engine.scripts import THREADS, Script
from generation.models import Attempt, Generation, State
from generation.providers.base import Order, ProviderError, Seen, Unavailable

log = structlog.get_logger("engine")

_MISSES = 5
_MOMENT_S = 0.25  # what was heard is written down at least that often
_PASS_S = 2.0  # what nobody has come to by then is another pass's
_STORES = 12 * THREADS  # the others' outputs are fetched by another pass

# How long until the next look: a quarter of the attempt's age, within bounds.
WAIT = "least(%(most)s, greatest(%(least)s, (statement_timestamp() - a.created_at) / 4))"

_CLAIM = f"""
WITH due AS MATERIALIZED (
    SELECT id FROM generation_generation
    WHERE queue = %(queue)s AND state = 'running' AND next_at <= statement_timestamp()
      AND deadline_at > statement_timestamp()
    ORDER BY next_at
    LIMIT %(limit)s
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE generation_generation g
SET next_at = statement_timestamp() + {WAIT}
FROM due, generation_attempt a
WHERE g.id = due.id AND a.id = g.attempt_id
RETURNING g.id, a.id, a.provider, a.provider_job_id, a.misses, a.request #>> '{{prepared,cost}}',
    g.progress, g.step, g.unknown, g.stage, g.kind, g.model, g.operation, g.params::text
"""

# Whoever else has the row knows something newer.
_STAND = """
WITH mine AS MATERIALIZED (
    SELECT g.id, v.progress, v.step, v.unknown, v.wait
    FROM unnest(%s::uuid[], %s::uuid[], %s::int[], %s::text[], %s::bool[], %s::interval[])
        v (job, attempt, progress, step, unknown, wait)
    JOIN generation_generation g ON g.id = v.job AND g.attempt_id = v.attempt AND g.state = 'running'
    FOR NO KEY UPDATE OF g SKIP LOCKED
)
UPDATE generation_generation g
SET progress = greatest(g.progress, mine.progress), step = mine.step, unknown = mine.unknown,
    next_at = coalesce(statement_timestamp() + mine.wait, g.next_at)
FROM mine WHERE g.id = mine.id
"""

_NOTE = """
WITH told AS MATERIALIZED (
    SELECT a.id, v.answer, v.cost, v.unit, v.error_code, v.error
    FROM unnest(%s::uuid[], %s::jsonb[], %s::numeric[], %s::text[], %s::text[], %s::text[])
        v (attempt, answer, cost, unit, error_code, error)
    JOIN generation_attempt a ON a.id = v.attempt
    WHERE a.answer <> v.answer OR a.error_code <> v.error_code
       OR a.provider_cost IS DISTINCT FROM coalesce(v.cost, a.provider_cost)
    ORDER BY a.id
    FOR NO KEY UPDATE OF a
)
UPDATE generation_attempt a
SET answer = coalesce(told.answer, a.answer),
    provider_cost = coalesce(told.cost, a.provider_cost), cost_unit = coalesce(told.unit, a.cost_unit),
    error_code = coalesce(told.error_code, a.error_code), error_message = coalesce(told.error, a.error_message)
FROM told WHERE a.id = told.id
"""


class Look(NamedTuple):
    """A running job that is to be looked at, as it stood when it was taken up."""

    job_id: UUID
    attempt_id: UUID
    provider: str
    provider_job_id: str
    misses: int
    prepared: str | None  # what preparing the order was billed
    progress: int
    step: str
    unknown: bool
    stage: int
    kind: str
    model: str
    operation: str
    params: str


class Stand(NamedTuple):
    """How a job that goes on running stands. With a `wait` the next look is due then."""

    look: Look
    progress: int
    step: str
    unknown: bool
    wait: timedelta | None = None


Heard = tuple[Look, Seen | ProviderError]


def bounds() -> dict[str, Any]:
    """What WAIT stays within."""
    return {
        "least": moves.seconds(settings.GENERATION_POLL_MIN_S),
        "most": moves.seconds(settings.GENERATION_POLL_MAX_S),
    }


def claim(limit: int, queue: str = "providers") -> list[Look]:
    """Take up running jobs that are due for a look: one statement, committed at once.

    Locks: skips rows that anybody else has locked.
    """
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, {"queue": queue, "limit": limit, **bounds()})
        return [Look(*row) for row in cursor.fetchall()]


def scripts(looks: Sequence[Look]) -> list[Script]:
    """Look at jobs that were taken up, a share a thread. Providers that are to be spared are asked less, or not."""
    allowed, told = _allowed(looks), deque[Heard]()
    give_up = time.monotonic() + _PASS_S
    return [script(allowed[n::THREADS], give_up, told) for n in range(min(THREADS, len(allowed)))]


def _allowed(looks: Sequence[Look]) -> list[Look]:
    of_provider: dict[str, list[Look]] = defaultdict(list)
    for look in looks:
        of_provider[look.provider].append(look)
    allowed: list[Look] = []
    held: list[Stand] = []
    for provider, asked in of_provider.items():
        if throughput.is_open(provider):
            continue
        for look, wait_s in zip(asked, throughput.take(provider, len(asked)), strict=True):
            if wait_s:
                held.append(_again(look, after_s=wait_s))
            else:
                allowed.append(look)
    _write_stands(held)
    return allowed


def _again(look: Look, *, after_s: float) -> Stand:
    return Stand(look, look.progress, look.step, look.unknown, moves.seconds(after_s))


def script(looks: list[Look], give_up: float, told: deque[Heard]) -> Script:
    """Ask for a moment; the outputs to store and the rest of the share go on after it.

    Whoever is first to have asked for its moment writes down what all shares have heard by then.
    """
    reach("generation.poll.claimed")
    has_failed: bool = yield partial(_ask, looks, told)
    reach("generation.poll.answered")
    following = _write_all([told.popleft() for _ in range(len(told))])
    if has_failed:
        down = {provider for provider in {look.provider for look in looks} if throughput.is_open(provider)}
        looks = [look for look in looks if look.provider not in down]
    if time.monotonic() < give_up:
        return [*following, script(looks, give_up, told)] if looks else following
    _write_stands([_again(look, after_s=0) for look in looks])
    return following


def _ask(looks: list[Look], told: deque[Heard]) -> bool:
    """Ask about one after the other, on a thread of its own, and tell. Those it does not come to stay in `looks`.

    Returns whether a provider failed to answer.
    """
    until, has_failed = time.monotonic() + _MOMENT_S, False
    while looks:
        look = looks.pop()
        try:
            told.append((look, providers.get(look.provider).poll(look.provider_job_id)))
        except ProviderError as error:
            has_failed = True
            told.append((look, error))
        except Exception:
            log.exception("look_failed", generation=str(look.job_id))  # it is due again soon
        if time.monotonic() > until:
            break
    return has_failed


def _write_all(heard: Sequence[Heard]) -> list[Script]:
    """Write down what was heard. What cannot be written leaves the rest alone: then each is written by itself."""
    if not heard:
        return []
    try:
        return _write(heard)
    except Exception:
        if len(heard) == 1:
            log.exception("look_not_written", generation=str(heard[0][0].job_id))  # it is due again soon
        connection.close_if_unusable_or_obsolete()
    return [following for one in heard for following in _write_all([one])] if len(heard) > 1 else []


def _write(heard: Sequence[Heard]) -> list[Script]:
    """Write down what was heard: what goes on, what has failed, then what is done. Returns what stores its outputs."""
    _report(heard)
    _note(heard)
    stands: list[Stand] = []
    failed: dict[tuple[str, str], list[Look]] = defaultdict(list)
    gone: list[Look] = []
    done: dict[UUID, Seen] = {}
    for look, seen in heard:
        if isinstance(seen, ProviderError):
            after_s = seen.retry_after_s if isinstance(seen, Unavailable) else None
            stands.append(Stand(look, look.progress, look.step, True, moves.seconds(after_s) if after_s else None))
        elif seen.status == "running":
            stands.append(Stand(look, _progress(look, seen), "rendering", False))
        elif seen.status == "succeeded" and len(done) < _STORES:
            done[look.attempt_id] = seen
        elif seen.status == "succeeded":
            stands.append(_again(look, after_s=0))
        elif seen.status == "gone":
            gone.append(look)
        elif seen.status == "canceled":
            failed["provider_canceled", ""].append(look)
        else:
            failed[(seen.error.code, seen.error.message) if seen.error else ("provider_failed", "")].append(look)
    for misses in {look.misses for look in gone}:
        missed = [look for look in gone if look.misses == misses]
        # Two looks at once that both miss it are one miss.
        Attempt.objects.filter(pk__in=[look.attempt_id for look in missed], misses=misses).update(misses=misses + 1)
        if misses + 1 >= _MISSES:
            failed["provider_lost", ""] += missed
        else:
            stands += [Stand(look, look.progress, look.step, True) for look in missed]
    _write_stands(stands)
    for (code, detail), looks in failed.items():
        ground = _still([look.attempt_id for look in looks])
        finish.fail_all([look.job_id for look in looks], code=code, where=ground, detail=detail)
    found = Generation.objects.filter(_still(done)).select_related("attempt", "avatar") if done else ()
    return [go_on for job in found if (go_on := _go_on(job, done))]


def _still(attempt_ids: Iterable[UUID]) -> Q:
    """The job still runs on the attempt that was looked at."""
    return Q(state=State.RUNNING, attempt__in=list(attempt_ids))


def _progress(look: Look, seen: Seen) -> int:
    """Of the whole job: what a stage has done is only its part."""
    if look.stage == 1 and seen.progress <= look.progress:
        return look.progress
    order = Order("", look.kind, look.model, orjson.loads(look.params), stage=look.stage, operation=look.operation)
    total = providers.get(look.provider).stages(order)
    return max(look.progress, ((look.stage - 1) * 100 + seen.progress) // total)


def _go_on(job: Generation, done: dict[UUID, Seen]) -> Script | None:
    """The provider has done it: to the next stage, or to the storage."""
    assert job.attempt is not None
    seen, ours = done[job.attempt.pk], _still([job.attempt.pk])
    if not orders.is_last_stage(job):
        if stages.go_on(job, job.attempt, seen.outputs, where=ours):
            reach("generation.stage.queued")
        return None
    token = new_id()
    lease: dict[str, Any] = {"lease_token": token, "lease_until": Now() + moves.lease()}
    if not moves.move(job.pk, State.STORING, where=ours, progress=90, step="storing", **lease):
        return None
    reach("generation.poll.storing")
    return store.script(job, token, seen=seen)


def _report(heard: Sequence[Heard]) -> None:
    """Tell the breaker how it went, in the order in which it did."""
    failures: dict[str, int] = {}
    answered: set[str] = set()
    for look, seen in heard:
        if isinstance(seen, ProviderError):
            log.warning("poll_failed", generation=str(look.job_id), error=seen.message)
            failures[look.provider] = failures.get(look.provider, 0) + 1
        else:
            answered.add(look.provider)
            failures.pop(look.provider, None)
    for provider in answered:
        throughput.report(provider, answered=True)
    for provider, times in failures.items():
        throughput.report(provider, answered=False, times=times)


def _note(heard: Sequence[Heard]) -> None:
    """Keep what the provider says of cost and state, whoever has the job by now."""
    rows = []
    for look, seen in heard:
        if isinstance(seen, ProviderError) or not (seen.answer or seen.error or seen.cost is not None):
            continue
        answer = orjson.dumps(dict(seen.answer)).decode() if seen.answer else None
        bill = answers.bill(look.provider, look.prepared, seen.cost)
        error = (seen.error.code, seen.error.message[:300]) if seen.error else (None, None)
        rows.append((look.attempt_id, answer, bill.get("provider_cost"), bill.get("cost_unit"), *error))
    if rows:
        with connection.cursor() as cursor:
            cursor.execute(_NOTE, [list(column) for column in zip(*rows, strict=True)])


def _write_stands(stands: Sequence[Stand]) -> None:
    """Write down how jobs stand, where that is news."""
    rows = [
        (stand.look.job_id, stand.look.attempt_id, *stand[1:])
        for stand in stands
        if stand.wait is not None or stand[1:4] != stand.look[6:9]
    ]
    if rows:
        with connection.cursor() as cursor:
            cursor.execute(_STAND, [list(column) for column in zip(*rows, strict=True)])

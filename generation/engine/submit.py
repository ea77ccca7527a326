"""From `queued` to `running`: inputs ready, the attempt committed, then the one call that costs."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import Q
from django.db.models.functions import Now

import audit
from core import storage
from core.killpoints import reach
from generation import operations, providers
from generation.engine import finish, inputs, moves, throughput
from generation.engine.scripts import Script
from generation.models import Attempt, Generation, JobPhoto, Operation, Outcome, State
from generation.providers.base import (
    Input,
    Misconfigured,
    Order,
    Provider,
    ProviderError,
    Rejected,
    Submitted,
    Unavailable,
    Unknown,
)

log = structlog.get_logger("engine")

MAX_STARTS = 2
_RECORD_FOR_S = 20


def script(job: Generation, token: UUID) -> Script:
    """Send one queued job that we hold under `token`."""
    provider = providers.get(job.provider)
    if throughput.is_open(provider.code):
        _later(job, token, after_s=_backoff(job))
        return
    if wait_s := throughput.take(provider.code):
        moves.put_back(job.pk, token, after_s=wait_s)
        return
    if not (yield from inputs.script(job, token)):
        return
    order = _order(job)
    reach("generation.submit.claimed")
    try:
        prepared = yield partial(provider.prepare, order)
    except ProviderError as error:
        _not_started(job, token, None, error)
        return
    reach("generation.submit.prepared")
    attempt = _start(job, token, order, prepared)
    if attempt is None:
        return
    reach("generation.submit.committed")
    began = time.monotonic()
    try:
        submitted = yield partial(provider.submit, order, prepared)
    except Unknown as error:
        _insist(partial(_unknown, job, token, attempt, error, began))
        return
    except ProviderError as error:
        _not_started(job, token, attempt, error, began)
        return
    reach("generation.submit.answered")
    _insist(partial(_running, job, token, attempt, provider, submitted, began))
    reach("generation.submit.recorded")


def _order(job: Generation) -> Order:
    """What the provider is asked for. The photos are read from the storage when they are sent."""
    photos = [use.photo for use in JobPhoto.objects.filter(generation=job).select_related("photo__file")]
    sources = tuple(
        Input(photo.content_type, photo.bytes, partial(storage.open, photo.file.key)) for photo in photos if photo.file
    )
    return Order(
        token=_fresh_token(),
        kind=job.kind,
        model=job.model,
        params=job.params,
        inputs=sources,
        stage=job.stage,
        operation=job.operation,
    )


def _fresh_token() -> str:
    token: str = Attempt._meta.get_field("token").get_default()
    return token


def _redacted(order: Order, prepared: Mapping[str, Any]) -> dict[str, Any]:
    """What was sent, without the customer's address of the picture, which may hold a key of theirs."""
    params = {name: value for name, value in order.params.items() if name != "image_url"}
    return {"params": params, "photos": len(order.inputs), "prepared": dict(prepared)}


@audit.writes("generation")
def _start(job: Generation, token: UUID, order: Order, prepared: Mapping[str, Any]) -> Attempt | None:
    """Commit the attempt before the call. None: the job is not ours any more."""
    with transaction.atomic():
        step: dict[str, Any] = {"lease_token": token, "lease_until": Now() + moves.lease(), "was_submitted": True}
        in_time = moves.mine(token) & Q(deadline_at__gt=Now())
        if not moves.move(job.pk, State.SUBMITTING, where=in_time, **step):
            return None
        attempt = Attempt.objects.create(
            generation=job,
            round=job.round,
            n=Attempt.objects.filter(generation=job, round=job.round).count() + 1,
            provider=job.provider,
            model=job.model,
            token=order.token,
            request=_redacted(order, prepared),
        )
        Generation.objects.filter(pk=job.pk).update(attempt=attempt)
        audit.record(
            "generation.submitted",
            job,
            user=job.user_id,
            new={"state": State.SUBMITTING},
            metadata={"provider": job.provider, "attempt": attempt.pk, "round": job.round, "n": attempt.n},
        )
    return attempt


def _running(
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
        changes: dict[str, Any] = {}
        if ours:
            changes = {"outcome": Outcome.RUNNING}
        elif not goes_on.exists():
            changes = {"outcome": Outcome.ABANDONED, "discard_at": Now()}
        Attempt.objects.filter(pk=attempt.pk).update(
            provider_job_id=submitted.provider_job_id,
            provider_cost=submitted.cost,
            cost_unit=provider.cost_unit,
            answer=dict(submitted.answer),
            answered_at=Now(),
            latency_ms=_ms(began),
            **changes,
        )


def _unknown(job: Generation, token: UUID, attempt: Attempt, error: Unknown, began: float) -> None:
    """Nobody can tell whether it started: keep the hold, wait for a callback as long as one can come."""
    throughput.report(job.provider, answered=False)
    window_s = providers.get(job.provider).resolve_window_s
    with transaction.atomic():
        Attempt.objects.filter(pk=attempt.pk, outcome=Outcome.PENDING).update(
            outcome=Outcome.UNKNOWN,
            answered_at=Now(),
            latency_ms=_ms(began),
            error_code="unknown",
            error_message=error.message[:300],
        )
        moves.put_back(job.pk, token, after_s=window_s, unknown=True)
    log.warning("submission_unknown", generation=str(job.pk), attempt=str(attempt.pk), error=error.message)


def _not_started(
    job: Generation, token: UUID, attempt: Attempt | None, error: ProviderError, began: float | None = None
) -> None:
    """The provider surely did not start: send it again later, elsewhere, or end the job."""
    refused = isinstance(error, Rejected)
    throughput.report(job.provider, answered=refused)
    if attempt is not None:
        Attempt.objects.filter(pk=attempt.pk, outcome=Outcome.PENDING).update(
            outcome=Outcome.FAILED if refused else Outcome.NOT_STARTED,
            answered_at=Now(),
            latency_ms=_ms(began) if began else None,
            error_code=error.code if isinstance(error, Rejected) else type(error).__name__.lower(),
            error_message=error.message[:300],
        )
    log.warning("submission_refused", generation=str(job.pk), error=error.message, kind=type(error).__name__)
    if isinstance(error, Rejected):
        finish.fail(job.pk, code=error.code, where=moves.mine(token), detail=error.message)
    elif isinstance(error, Misconfigured):
        throughput.trip(job.provider, error.message)
        if not _fall_back(job, token):
            finish.fail(job.pk, code="provider_unavailable", where=moves.mine(token), detail=error.message)
    else:
        after_s = error.retry_after_s if isinstance(error, Unavailable) else None
        _later(job, token, after_s=max(after_s or 0, _backoff(job)))


def _later(job: Generation, token: UUID, *, after_s: float) -> None:
    """Another try, at the operation's fallback if it has one, else here after a while."""
    if _fall_back(job, token):
        return
    wait = {"next_at": Now() + moves.seconds(after_s), "was_submitted": _may_have_started(job)}
    if not moves.move(job.pk, State.QUEUED, where=moves.mine(token), origins=[State.SUBMITTING], **wait):
        moves.put_back(job.pk, token, after_s=after_s)


def _may_have_started(job: Generation) -> bool:
    started = Attempt.objects.filter(generation=job, round=job.round).exclude(outcome=Outcome.NOT_STARTED)
    return started.exists()


@audit.writes("generation")
def _fall_back(job: Generation, token: UUID) -> bool:
    """Move the job to its operation's fallback: same hold, same price. False when there is none that can take it."""
    current = Operation.objects.filter(code=job.operation).select_related("fallback").first()
    other = current.fallback if current else None
    if other is None or not operations.is_available(other) or other.kind != job.kind:
        return False
    is_strange = set(job.params) - {"image_url"} - set(other.limits)
    if is_strange or throughput.is_open(other.provider) or _may_have_started(job):
        return False
    moved = {"operation": other.code, "provider": other.provider, "model": other.model, "next_at": Now()}
    moved["queue"] = operations.queue(other)
    with transaction.atomic():
        held = Generation.objects.filter(moves.mine(token), Q(state__in=[State.QUEUED, State.SUBMITTING]), pk=job.pk)
        if not held.update(state=State.QUEUED, lease_token=None, lease_until=None, was_submitted=False, **moved):
            return False
        audit.record(
            "generation.moved",
            job,
            user=job.user_id,
            old={"operation": job.operation, "provider": job.provider},
            new={"operation": other.code, "provider": other.provider},
        )
    return True


def _backoff(job: Generation) -> float:
    """2, 4, 8 … 60 s by the number of tries in this round, with jitter so that a herd spreads."""
    tries = Attempt.objects.filter(generation=job, round=job.round).count()
    ceiling = min(settings.GENERATION_POLL_MAX_S, settings.GENERATION_POLL_MIN_S * 2 ** min(tries, 6) / 2)
    return float(ceiling * random.uniform(0.5, 1))  # noqa: S311  jitter, not a secret


def _ms(began: float) -> int:
    return int((time.monotonic() - began) * 1000)


def _insist(record: Any) -> None:
    """Write down what the provider said even if the database is just restarting: the id is worth a job's price."""
    give_up = time.monotonic() + _RECORD_FOR_S
    while True:
        try:
            return record()  # type: ignore[no-any-return]
        except (OperationalError, InterfaceError):
            connection.close()
            if time.monotonic() > give_up:
                raise
            time.sleep(0.5)

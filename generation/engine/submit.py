"""From `queued` to `running`: inputs ready, the attempt committed, then the one call that costs.

A synchronous provider answers that call with what it made: the job goes to `storing`, or to its next stage, at once.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

import audit
from core.killpoints import reach
from generation import moderation, operations, prompts, providers
from generation.engine import answers, avatars, finish, inputs, moves, orders, store, throughput
from generation.engine.scripts import Lasting, Script
from generation.models import Attempt, Generation, Operation, Outcome, State
from generation.providers.base import (
    InputAway,
    Misconfigured,
    Order,
    ProviderError,
    Rejected,
    Unavailable,
    Unknown,
)
from generation.providers.watch import Watch

log = structlog.get_logger("engine")

MAX_STARTS = 2  # a stage
_STORING_FROM = 90  # per cent of a job


def script(job: Generation, token: UUID) -> Script:
    """Send one queued job that we hold under `token`."""
    provider = providers.get(job.provider)
    if throughput.is_open(provider.code):
        _later(job, token, after_s=_backoff(job))
        return
    [wait_s] = throughput.take(provider.code)
    if wait_s:
        moves.put_back(job.pk, token, after_s=wait_s)
        return
    if not (yield from inputs.script(job, token)):
        return
    order = orders.full(job)
    reach("generation.submit.claimed")
    try:
        prepared = yield partial(provider.prepare, order)
    except ProviderError as error:
        _not_started(job, token, None, error)
        return
    reach("generation.submit.prepared")
    order, prepared = _worded(job, order, prepared)
    attempt = _start(job, token, order, prepared)
    if attempt is None:
        return
    reach("generation.submit.committed")
    began = time.monotonic()
    try:
        call = partial(provider.submit, order, prepared)
        submitted = yield Lasting(call, partial(_beat, job, token, order.watch)) if job.queue == "bulk" else call
    except Unknown as error:
        answers.insist(partial(answers.unknown, job, token, attempt, error, began))
        return
    except ProviderError as error:
        _not_started(job, token, attempt, error, began)
        return
    reach("generation.submit.answered")
    if refusal := avatars.refusal(submitted):
        _not_started(job, token, attempt, refusal, began)
        return
    if submitted.provider_job_id is not None and not submitted.outputs:
        answers.insist(partial(answers.running, job, token, attempt, provider, submitted, began))
        reach("generation.submit.recorded")
        return
    state = answers.insist(partial(answers.made, job, token, attempt, provider, submitted, began))
    if state is State.STORING:
        reach("generation.submit.made")
        yield from store.script(job, token)
    elif state is State.QUEUED:
        reach("generation.stage.queued")


def _beat(job: Generation, token: UUID, watch: Watch) -> None:
    """A call that lasts is still wanted: keep the lease, show where it is. Otherwise stop it."""
    told = {"step": watch.step, "progress": watch.progress * _STORING_FROM // 100}
    if not moves.renew(job.pk, token, **told):
        watch.stop()


def _worded(job: Generation, order: Order, prepared: Mapping[str, Any]) -> tuple[Order, Mapping[str, Any]]:
    """The order with the provider's better wording of the prompt, unless we would not have taken that from a customer.

    It is asked for once a job: every later order has it, or has None in its place where it was blocked.
    """
    if "optimized_prompt" not in prepared:
        return order, prepared
    text = str(prepared["optimized_prompt"] or "").strip()
    blocked = moderation.block_list().category_of(text)
    if blocked:
        log.warning("optimized_prompt_blocked", generation=str(job.pk), category=blocked)
    job.data = job.data | {"optimized_prompt": text if text and not blocked else None}
    rest = {name: value for name, value in prepared.items() if name != "optimized_prompt"}
    params = {**order.params, "optimized_prompt": job.data["optimized_prompt"]}
    return replace(order, params=prompts.dressed(order.kind, params, job.data.get("wearing", ""))), rest


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
            stage=job.stage,
            provider=job.provider,
            model=job.model,
            token=order.token,
            request=_redacted(order, prepared),
        )
        if prepared.get("cost"):
            Attempt.objects.filter(pk=attempt.pk).update(**answers.billed(attempt, Decimal()))
        Generation.objects.filter(pk=job.pk).update(attempt=attempt, data=job.data)
        with audit.continuing(job, when=job.round > 1):
            audit.record(
                "generation.submitted",
                job,
                user=job.user_id,
                new={"state": State.SUBMITTING},
                metadata={"provider": job.provider, "attempt": attempt.pk, "round": job.round, "n": attempt.n}
                | ({"stage": job.stage} if job.stage > 1 else {}),
            )
    return attempt


def _not_started(
    job: Generation, token: UUID, attempt: Attempt | None, error: ProviderError, began: float | None = None
) -> None:
    """The provider surely did not start: send it again later, elsewhere, or end the job."""
    refused = isinstance(error, Rejected)
    if not isinstance(error, InputAway):
        throughput.report(job.provider, answered=refused)
    if attempt is not None:
        Attempt.objects.filter(pk=attempt.pk, outcome=Outcome.PENDING).update(
            outcome=Outcome.FAILED if refused else Outcome.NOT_STARTED,
            answered_at=Now(),
            latency_ms=answers.ms(began) if began else None,
            error_code=error.code if isinstance(error, Rejected) else type(error).__name__.lower(),
            error_message=error.message[:300],
            **answers.billed(attempt, error.cost),
        )
    log.warning("submission_refused", generation=str(job.pk), error=error.message, kind=type(error).__name__)
    if isinstance(error, Rejected):
        ground = moves.mine(token)
        finish.fail(job.pk, code=error.code, where=ground, detail=error.message, reason=error.reason)
    elif isinstance(error, Misconfigured):
        throughput.trip(job.provider, error.message)
        if not _fall_back(job, token):
            finish.fail(job.pk, code="provider_unavailable", where=moves.mine(token), detail=error.message)
    elif isinstance(error, InputAway):
        _wait(job, token, **inputs.storage_away(job))
    else:
        after_s = error.retry_after_s if isinstance(error, Unavailable) else None
        _later(job, token, after_s=max(after_s or 0, _backoff(job)))


def _later(job: Generation, token: UUID, *, after_s: float) -> None:
    """Another try, at the operation's fallback if it has one, else here after a while."""
    if not _fall_back(job, token):
        _wait(job, token, after_s=after_s, step="")


def _wait(job: Generation, token: UUID, *, after_s: float, step: str) -> None:
    """Give it up, to be sent again after a while."""
    wait = {"next_at": Now() + moves.seconds(after_s), "was_submitted": _may_have_started(job), "step": step}
    if not moves.move(job.pk, State.QUEUED, where=moves.mine(token), origins=[State.SUBMITTING], **wait):
        moves.put_back(job.pk, token, after_s=after_s, step=step)


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
    asked = {name: value for name, value in job.params.items() if name not in operations.BESIDE}
    if not operations.takes(other, asked) or throughput.is_open(other.provider) or _may_have_started(job):
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
    """By the number of tries in this stage."""
    return moves.backoff_s(Attempt.objects.filter(generation=job, round=job.round, stage=job.stage).count())

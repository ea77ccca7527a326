"""Providers' callbacks. They move nothing: they make us look sooner, or name a job whose id we never got."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog
from django.db.models.functions import Now

from core import jobs
from generation import providers
from generation.engine import doubts
from generation.models import Attempt, Generation, Outcome, State
from inbox.deliveries import Outcome as Handled

log = structlog.get_logger("webhooks")


def handle_magic_hour(event: Mapping[str, Any], *, stale: bool) -> Handled:
    """Look at the job that the event is about. A stale event is as good a hint as a fresh one.

    Idempotent: looking twice is looking.
    Enqueues: generation.advance
    """
    return _look("magic-hour", event)


def handle_kie(event: Mapping[str, Any], *, stale: bool) -> Handled:
    """Look at the job that the callback is about: its body is not signed, so it says nothing but where to look.

    Idempotent: looking twice is looking.
    Enqueues: the workers of the job's queue.
    """
    return _look("kie", event)


def _look(provider: str, event: Mapping[str, Any]) -> Handled:
    callback = providers.get(provider).parse_callback(event)
    if callback is None:
        return Handled.IGNORED
    ours = Attempt.objects.filter(provider=provider)
    attempt = ours.filter(provider_job_id=callback.provider_job_id).first()
    if attempt is None and callback.token is not None:
        attempt = ours.filter(token=callback.token, provider_job_id=None).first()
        if attempt is not None:
            adopted = doubts.adopt(attempt, callback.provider_job_id)
            log.info("attempt_adopted", attempt=str(attempt.pk), runs=adopted)
    if attempt is None:
        return Handled.UNMATCHED
    _hasten(attempt)
    return Handled.PROCESSED


def _hasten(attempt: Attempt) -> None:
    """Make the next look come now: at the running job, or at what an attempt left behind."""
    running = Generation.objects.filter(pk=attempt.generation_id, attempt=attempt, state=State.RUNNING)
    looked = running.update(next_at=Now())
    if not looked:
        left = Attempt.objects.filter(pk=attempt.pk, outcome=Outcome.ABANDONED, discarded_at=None)
        looked = left.update(discard_at=Now())
    if looked:
        jobs.wake("generation.advance")

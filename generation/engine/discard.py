"""What a provider made after its job had ended without it: learn what it cost, then delete it there."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import structlog
from django.db import connection
from django.db.models.functions import Now

from core.killpoints import reach
from generation import providers
from generation.engine import answers, poll
from generation.engine.scripts import Script
from generation.models import Attempt
from generation.providers.base import ProviderError, Seen

log = structlog.get_logger("engine")

_PATIENCE = timedelta(hours=24)

_CLAIM = f"""
WITH due AS MATERIALIZED (
    SELECT id FROM generation_attempt
    WHERE discard_at <= statement_timestamp()
    ORDER BY discard_at
    LIMIT %(limit)s
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE generation_attempt a
SET discard_at = statement_timestamp() + {poll.WAIT}
FROM due WHERE a.id = due.id
RETURNING a.id
"""


def claim(limit: int) -> list[Attempt]:
    """Take attempts to discard. Pushing `discard_at` on is the lease: doing it twice does no harm."""
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, {"limit": limit, **poll.bounds()})
        ids = [row[0] for row in cursor.fetchall()]
    return list(Attempt.objects.filter(pk__in=ids).annotate(now=Now()).order_by("discard_at")) if ids else []


def script(attempt: Attempt) -> Script:
    """Discard one attempt: look, and once the provider has ended, delete. After a day delete in any case."""
    assert attempt.provider_job_id is not None
    provider = providers.get(attempt.provider)
    age: timedelta = attempt.now - attempt.created_at  # type: ignore[attr-defined]  # annotated by claim
    out_of_patience = age > _PATIENCE
    try:
        seen: Seen = yield partial(provider.poll, attempt.provider_job_id)
        if bill := answers.billed(attempt, seen.cost):
            Attempt.objects.filter(pk=attempt.pk).update(**bill)
        if seen.status == "running" and not out_of_patience:
            return
        if seen.status != "gone":
            yield partial(provider.cancel, attempt.provider_job_id)
            reach("generation.discard.deleted")
    except ProviderError as error:
        log.warning("discard_failed", attempt=str(attempt.pk), error=error.message)
        if not out_of_patience:
            return
    Attempt.objects.filter(pk=attempt.pk).update(discard_at=None, discarded_at=Now())
    log.info("discarded", attempt=str(attempt.pk))

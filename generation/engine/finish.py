"""How a job ends. Each end is one transaction, and the conditional update of the job's row comes first in it:
whoever changes that row has decided, everybody else does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_noop

import audit
from billing import ledger
from core import files, jobs
from core.killpoints import reach
from core.models import StoredObject
from generation.engine import avatars, moves
from generation.models import Asset, Attempt, Generation, Kind, Outcome, State
from notifications import outbox

log = structlog.get_logger("engine")

# Why a job failed, in words for its customer. The codes are the API's.
REASONS: dict[str, str] = {
    "moderated": "The provider declined to make this.",
    "no_source_face": "No single clear face was found in the photo.",
    "photo_refused": "The provider could not use the photo.",
    "image_url_refused": "The picture could not be fetched from image_url.",
    "image_unreadable": "What image_url leads to is not a picture we can use.",
    "provider_rejected": "The provider refused the order.",
    "provider_failed": "The provider failed to make it.",
    "provider_canceled": "The provider cancelled it.",
    "provider_unavailable": "The provider could not be reached.",
    "provider_lost": "The provider lost the job.",
    "bad_output": "What the provider made could not be used.",
    "output_too_large": "What the provider made is too large to be right.",
    "too_few_photos": "Fewer than 8 of the photos show enough to be used.",
    "no_reconstruction": "The photos do not show one thing from sides that overlap enough.",
    "archive_refused": "The archive could not be used.",
    "deadline_exceeded": "It was not ready in time.",
    "canceled": "You cancelled it.",
}

_MAILS: dict[str, tuple[str, str]] = {Kind.HEADSHOT: ("headshot-generated", "headshot-failed")}
_WORDS = {
    Kind.IMAGE: gettext_noop("picture"),
    Kind.VIDEO: gettext_noop("video"),
    Kind.AVATAR: gettext_noop("avatar"),
    Kind.MODEL3D: gettext_noop("3D model"),
}
_MAIL = ("generation-completed", "generation-failed")


@dataclass(frozen=True, slots=True)
class Output:
    """An output whose bytes are stored and whose row is not."""

    file: StoredObject
    thumbnail: StoredObject | None
    content_type: str
    bytes: int
    sha256: str
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None


@audit.writes("generation")
def succeed(job_id: UUID, *, token: UUID, outputs: Sequence[Output], data: Mapping[str, Any] | None = None) -> bool:
    """Settle: the job, its assets, the capture, the mail, the audit row. Returns whether it was ours to settle.

    `data` is what was made besides files.
    Idempotent: by the job's state and lease.
    Locks: the job, its avatar, then its hold's wallet.
    """
    with transaction.atomic():
        if not moves.move(job_id, State.SUCCEEDED, where=moves.mine(token), progress=100):
            return False
        reach("generation.finish.decided")
        job = Generation.objects.select_related("attempt", "user").get(pk=job_id)
        assert job.attempt is not None
        made = _keep(job, job.attempt, outputs)
        if job.kind == Kind.AVATAR:
            avatars.keep(job, data=data or {}, made=made)
        if data:
            Generation.objects.filter(pk=job.pk).update(data=job.data | dict(data))
        Attempt.objects.filter(pk=job.attempt.pk).update(outcome=Outcome.SUCCEEDED)
        _forget_made(job)
        ledger.capture(key=job.hold_key)
        reach("generation.finish.settled")
        _mail(job, 0, {"credits_used": job.price, **_named(job)})
        audit.record(
            "generation.succeeded",
            job,
            user=job.user_id,
            old={"state": State.STORING},
            new={"state": State.SUCCEEDED, "price": job.price, "outputs": len(outputs)},
            metadata={"round": job.round, "attempt": job.attempt.pk},
        )
    reach("generation.finish.committed")
    log.info("generation_succeeded", generation=str(job_id))
    return True


def _keep(job: Generation, attempt: Attempt, outputs: Sequence[Output]) -> list[Asset]:
    written = [found for output in outputs for found in (output.file, output.thumbnail) if found is not None]
    files.adopt(found.pk for found in written)
    return Asset.objects.bulk_create(
        Asset(
            generation=job,
            attempt=attempt,
            position=position,
            file=output.file,
            thumbnail=output.thumbnail,
            content_type=output.content_type,
            bytes=output.bytes,
            sha256=output.sha256,
            width=output.width,
            height=output.height,
            duration_s=output.duration_s,
        )
        for position, output in enumerate(outputs)
    )


@audit.writes("generation")
def fail(
    job_id: UUID, *, code: str, where: Q, outcome: Outcome = Outcome.FAILED, detail: str = "", reason: str = ""
) -> bool:
    """End in failure and release the hold. `where` says on what ground; `detail` is for staff. Returns whether we did.

    `reason` is for the customer, in place of the code's own.
    Idempotent: by the job's state.
    Locks: the job, then its hold's wallet.
    """
    reason = reason or REASONS[code]
    return _give_back(job_id, State.FAILED, code=code, reason=reason, where=where, outcome=outcome, detail=detail)


@audit.writes("generation")
def cancel(job_id: UUID, *, where: Q) -> bool:
    """End because its owner says so, and release the hold. Returns whether we did.

    Idempotent: by the job's state.
    Locks: the job, then its hold's wallet.
    """
    said = {"code": "canceled", "reason": REASONS["canceled"], "detail": ""}
    return _give_back(job_id, State.CANCELED, where=where, outcome=Outcome.ABANDONED, **said)


def _give_back(job_id: UUID, to: State, *, code: str, reason: str, where: Q, outcome: Outcome, detail: str) -> bool:
    error: dict[str, Any] = {}
    if to is State.FAILED:
        error = {"error_code": code, "error_message": reason[:300]}
    with transaction.atomic():
        if not moves.move(job_id, to, where=where, **error):
            return False
        reach("generation.finish.decided")
        job = Generation.objects.select_related("attempt", "user").get(pk=job_id)
        if job.attempt is not None:
            _leave(job.attempt, outcome, code, detail)
        _forget_made(job)
        ledger.release(key=job.hold_key)
        reach("generation.finish.settled")
        _mail(job, 1, {"reason": reason, "credits_returned": job.price, **_named(job)})
        audit.record(
            f"generation.{to.value}",
            job,
            user=job.user_id,
            new={"state": to, "released": job.price} | ({"error": code} if to is State.FAILED else {}),
            metadata={"round": job.round} | ({"detail": detail[:200]} if detail else {}),
        )
        jobs.wake("generation.sweep")
    reach("generation.finish.committed")
    log.info("generation_ended", generation=str(job_id), state=to.value, code=code)
    return True


def _leave(attempt: Attempt, outcome: Outcome, code: str, detail: str) -> None:
    """Close the last attempt. What it may still make at the provider is to be deleted, and its cost learnt."""
    if attempt.outcome in (Outcome.NOT_STARTED, Outcome.FAILED, Outcome.SUCCEEDED):
        return
    if attempt.provider_job_id is None and outcome is Outcome.ABANDONED and not attempt.made:
        outcome = Outcome.UNKNOWN  # the call's own answer, or a late callback, may still name it
    changes: dict[str, Any] = {"outcome": outcome, "error_code": code, "error_message": detail[:300]}
    if outcome is Outcome.ABANDONED and attempt.provider_job_id is not None:
        changes["discard_at"] = Now()
    Attempt.objects.filter(pk=attempt.pk).update(**changes)


def _forget_made(job: Generation) -> None:
    """What attempts kept of answers was for those who would go on; nobody does now."""
    Attempt.objects.filter(generation=job, round=job.round).exclude(made={}).update(made={})


def _named(job: Generation) -> dict[str, Any]:
    named = {"name": job.params["name"]} if job.params.get("name") else {}
    return named if job.kind in _MAILS else {"kind": _WORDS[Kind(job.kind)], **named}


def _mail(job: Generation, which: int, context: dict[str, Any]) -> None:
    outbox.enqueue(
        _MAILS.get(job.kind, _MAIL)[which],
        user=job.user,
        cause=f"generation:{job.pk}:{job.round}",
        context={"job_id": str(job.pk), **context},
    )

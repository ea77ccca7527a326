"""How a job ends. Each end is one transaction, and the conditional update of the job's row comes first in it:
whoever changes that row has decided, everybody else does nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from django.db import connection, transaction
from django.db.models import Case, F, Q, Value, When
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
    "photo_unavailable": "The photo could not be read from our storage.",
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
    "released": "Our staff ended it.",
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

# What an end without a result needs to know of its job.
_TOLD = ("kind", "params", "price", "round", "attempt", "user__email")


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
        _forget_made([job])
        with audit.continuing(job, when=job.round > 1):
            ledger.capture(key=job.hold_key)
            reach("generation.finish.settled")
            _mail([job], 0, lambda job: {"credits_used": job.price})
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
    ends = _give_back([job_id], State.FAILED, code=code, reason=reason, where=where, outcome=outcome, detail=detail)
    return bool(ends)


def fail_all(
    job_ids: Sequence[UUID], *, code: str, where: Q, outcome: Outcome = Outcome.FAILED, detail: str = ""
) -> int:
    """As `fail` for many that end alike, in one transaction. Returns how many we ended.

    One that cannot be ended (its books are wrong) leaves the others alone: then each has a transaction of its own.
    """
    said: dict[str, Any] = {"code": code, "reason": REASONS[code], "where": where, "outcome": outcome, "detail": detail}
    try:
        return _give_back(job_ids, State.FAILED, **said)
    except Exception:
        connection.close_if_unusable_or_obsolete()
        if len(job_ids) == 1:
            log.exception("job_not_ended", generation=str(job_ids[0]))  # check_books names it
            return 0
    return sum(fail_all([job_id], code=code, where=where, outcome=outcome, detail=detail) for job_id in job_ids)


@audit.writes("generation")
def cancel(job_id: UUID, *, where: Q) -> bool:
    """End because its owner says so, and release the hold. Returns whether we did.

    Idempotent: by the job's state.
    Locks: the job, then its hold's wallet.
    """
    said = {"code": "canceled", "reason": REASONS["canceled"], "detail": ""}
    return bool(_give_back([job_id], State.CANCELED, where=where, outcome=Outcome.ABANDONED, **said))


@audit.writes("generation")
def _give_back(
    job_ids: Sequence[UUID], to: State, *, code: str, reason: str, where: Q, outcome: Outcome, detail: str
) -> int:
    has_failed = to is State.FAILED
    error = {"error_code": code, "error_message": reason[:300]} if has_failed else {}
    with transaction.atomic():
        decided = moves.move_all(job_ids, to, where=where, **error)
        if not decided:
            return 0
        reach("generation.finish.decided")
        ended = list(Generation.objects.filter(pk__in=decided).select_related("user").only(*_TOLD))
        _leave(ended, outcome, code, detail)
        _forget_made(ended)
        with audit.continuing(ended[0], when=len(ended) == 1 and ended[0].round > 1):
            ledger.release_all([job.hold_key for job in ended])
            reach("generation.finish.settled")
            _mail(ended, 1, lambda job: {"reason": reason, "credits_returned": job.price})
            metadata = {"detail": detail[:200]} if detail else {}
            audit.record_all(
                f"generation.{to.value}",
                [
                    audit.Fact(
                        job,
                        user=job.user_id,
                        new={"state": to, "released": job.price} | ({"error": code} if has_failed else {}),
                        metadata={"round": job.round} | metadata,
                    )
                    for job in ended
                ],
            )
        jobs.wake("generation.sweep")
    reach("generation.finish.committed")
    for job_id in decided:
        log.info("generation_ended", generation=str(job_id), state=to.value, code=code)
    return len(decided)


def _leave(ended: Sequence[Generation], outcome: Outcome, code: str, detail: str) -> None:
    """Close the last attempts. What they may still make at the provider is to be deleted, and its cost learnt."""
    last = Attempt.objects.filter(pk__in=[job.attempt_id for job in ended if job.attempt_id])
    open_ones = last.exclude(outcome__in=[Outcome.NOT_STARTED, Outcome.FAILED, Outcome.SUCCEEDED])
    changes: dict[str, Any] = {"outcome": outcome, "error_code": code, "error_message": detail[:300]}
    if outcome is Outcome.ABANDONED:
        # The call's own answer, or a late callback, may still name it.
        nameless = When(provider_job_id=None, made={}, then=Value(Outcome.UNKNOWN))
        changes["outcome"] = Case(nameless, default=Value(outcome))
        changes["discard_at"] = Case(When(provider_job_id__isnull=False, then=Now()), default=F("discard_at"))
    open_ones.update(**changes)


def _forget_made(ended: Sequence[Generation]) -> None:
    """What attempts kept of answers was for those who would go on; nobody does now."""
    Attempt.objects.filter(generation__in=[job.pk for job in ended]).exclude(made={}).update(made={})


def _named(job: Generation) -> dict[str, Any]:
    named = {"name": job.params["name"]} if job.params.get("name") else {}
    return named if job.kind in _MAILS else {"kind": _WORDS[Kind(job.kind)], **named}


def _mail(ended: Sequence[Generation], which: int, told: Callable[[Generation], dict[str, Any]]) -> None:
    """Tell each one's customer once a round: the first mail of the pair, or the second."""
    letters: dict[str, list[outbox.Letter]] = defaultdict(list)
    for job in ended:
        context = {"job_id": str(job.pk), **told(job), **_named(job)}
        cause = f"generation:{job.pk}:{job.round}"
        letters[_MAILS.get(job.kind, _MAIL)[which]].append(outbox.Letter(cause, job.user_id, job.user.email, context))
    for name, sent in letters.items():
        outbox.enqueue_all(name, sent)

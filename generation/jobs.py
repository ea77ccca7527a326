"""What customers do with jobs: order, cancel, retry, delete. The engine does the rest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q
from django.db.models.functions import Now

import audit
from billing import ledger
from core import http
from core import jobs as wake_ups
from core.errors import Invalid, NotFound, detail
from core.killpoints import reach
from generation import avatar_limit, moderation, operations, outputs, photos, prompts, quotes, uploads
from generation.engine import finish, moves
from generation.errors import CancelLimitReached, ConsentRequired, NotRetryable, TooLateToCancel
from generation.models import TERMINAL, Asset, Avatar, Consent, Generation, JobPhoto, Kind, Operation, Photo, State
from wearables import wording

CONSENT_WORDING = "2026-11"
MAX_RETRIES = 3
HOLD_ALARM = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Request:
    """What a customer asks for. Either photos or one image_url, as the operation wants."""

    kind: Kind
    operation: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    photo_ids: Sequence[UUID] = ()
    archive_id: UUID | None = None
    image_url: str | None = None
    consent: bool = False
    quote: str | None = None
    avatar_id: UUID | None = None
    wearable_ids: Sequence[UUID] = ()
    customization_id: UUID | None = None

    @property
    def has_picture(self) -> bool:
        return bool(self.photo_ids) or self.image_url is not None

    @property
    def beside(self) -> dict[str, Any]:
        """What stands among a job's parameters though no operation lists it (operations.BESIDE)."""
        chosen = {
            "image_url": self.image_url,
            "wearables": [str(one) for one in self.wearable_ids],
            "customization": str(self.customization_id) if self.customization_id else None,
        }
        return {name: value for name, value in chosen.items() if value}


@audit.writes("generation")
def create(*, user: Any, request: Request) -> Generation:
    """Accept an order: moderation, price, the row, audit, and the hold last, all or nothing.

    Locks: the photos, then the wallet.
    Raises: ConsentRequired, Invalid, NotSold, NotFound, OperationUnavailable, Moderated, QuoteMismatch, QuoteExpired,
        InsufficientCredits, DebtOutstanding; nothing is kept then.
    Enqueues: the workers of its queue.
    """
    operation = operations.choose(request.kind, request.operation)
    params = operations.complete(operation, request.params)
    _check_inputs(operation, request)
    shows_faces = operation.needs_consent and request.has_picture
    if shows_faces and request.consent is not True:
        raise ConsentRequired
    with transaction.atomic():
        inputs = photos.lock_usable(user=user, ids=list(request.photo_ids))
        archive = uploads.take_archive(user=user, archive_id=request.archive_id) if request.archive_id else None
        dressed = wording.worn(user=user, wearable_ids=request.wearable_ids, customization_id=request.customization_id)
        moderation.check(operations.texts(operation, params) | {"customization": dressed.own_words})
        price = operations.price(operation, params)
        if request.quote is not None:
            price = quotes.honour(request.quote, user=user, operation=operation, params=params)
        job = Generation.objects.create(
            user=user,
            kind=operation.kind,
            avatar_id=request.avatar_id,
            archive=archive,
            operation=operation.code,
            provider=operation.provider,
            model=operation.model,
            queue=operations.queue(operation),
            terms=operations.snapshot(operation),
            params=params | request.beside,
            data=prompts.reworded(params, max_length=operation.limits.get("prompt", {}).get("max_length", 0))
            | ({"wearing": dressed.text} if dressed.text else {}),
            price=price,
            deadline_at=Now() + deadline(operation.kind),
        )
        job.refresh_from_db(fields=["created_at", "deadline_at", "next_at", "round_started_at"])
        _attach(job, inputs)
        if shows_faces:
            Consent.objects.create(user=user, generation=job, wording=CONSENT_WORDING)
        audit.record(
            "generation.created",
            job,
            user=user,
            new={"state": job.state, "operation": job.operation, "price": price},
            metadata={"photos": [photo.pk for photo in inputs], "consent": CONSENT_WORDING if shows_faces else None},
        )
        _hold(job)
        wake_ups.wake(moves.WAKES[job.queue])
    reach("generation.jobs.created")
    return job


def deadline(kind: str) -> timedelta:
    """How long a job of this kind may take, from its creation or its retry."""
    return timedelta(seconds=settings.GENERATION_DEADLINES_S[kind])


def _check_inputs(operation: Operation, request: Request) -> None:
    photos_min, photos_max = operation.photos_min, operation.photos_max
    count = len(request.photo_ids) + bool(request.image_url)
    if photos_max and request.photo_ids and request.image_url:
        raise Invalid(details=[detail("one_of", "Send either photo or image_url, not both.", "image_url")])
    if photos_max > 1:
        _check_many(operation, request)
        return
    if count < photos_min:
        raise Invalid(details=[detail("required", "Send photo (an uploaded photo's id) or image_url.", "photo")])
    if count > photos_max or len(set(request.photo_ids)) != len(request.photo_ids):
        raise Invalid(details=[detail("too_many", f"At most {photos_max} different photos.", "photo")])
    for name, limit in operation.limits.items():
        if limit.get("required") == "without_picture" and not count and name not in request.params:
            raise Invalid(details=[detail("required", f"Send {name}, photo or image_url.", name)])
    if request.image_url is not None:
        try:
            http.check_public(request.image_url)
        except http.FetchRefused as error:
            message = f"image_url: {error}"
            raise Invalid(details=[detail("invalid_url", message, "image_url")]) from error


def _check_many(operation: Operation, request: Request) -> None:
    different, least, most = len(set(request.photo_ids)), operation.photos_min, operation.photos_max
    if request.archive_id and request.photo_ids:
        raise Invalid(details=[detail("one_of", "Send either photos or an archive, not both.", "archive")])
    if request.archive_id:
        return
    if not least <= different <= most or different != len(request.photo_ids):
        raise Invalid(details=[detail("out_of_range", f"Send {least} to {most} different photos.", "photos")])


def _attach(job: Generation, inputs: Sequence[Photo]) -> None:
    JobPhoto.objects.bulk_create(
        JobPhoto(generation=job, photo=photo, position=position) for position, photo in enumerate(inputs)
    )


def _hold(job: Generation) -> None:
    """Promise the price. The alarm only rings: a hold never ends by a clock."""
    ledger.hold(
        user_id=job.user_id,
        amount=job.price,
        key=job.hold_key,
        subject=("generation", job.pk),
        alarm_at=job.deadline_at + HOLD_ALARM,
    )


@audit.writes("generation")
def cancel(*, user: Any, job_id: UUID) -> Generation:
    """Cancel an open job and release its hold; once cancelled it stays so, quietly.

    Idempotent: by state.
    Locks: the job, then the person's cancellations, then the wallet.
    Raises: NotFound, TooLateToCancel, CancelLimitReached.
    """
    with transaction.atomic():
        job = _locked(user, job_id)
        if job.state == State.CANCELED:
            return job
        if job.state == State.STORING or job.state in TERMINAL:
            raise TooLateToCancel(charged="held" if job.is_open else charged(job))
        if job.was_submitted:
            _count_late_cancel(job)
        finish.cancel(job.pk, where=Q())
        job.refresh_from_db()
    return job


def charged(job: Generation) -> Any:
    """What a job has done to its customer's credits: `none`, `held` or `settled`."""
    if job.is_open:
        return "held"
    return "settled" if job.state == State.SUCCEEDED else "none"


def _locked(user: Any, job_id: UUID) -> Generation:
    visible = Generation.objects.visible_to(user).filter(pk=job_id)
    job = visible.select_for_update(of=("self",), no_key=True).first()
    if job is None:
        raise NotFound
    return job


def _count_late_cancel(job: Generation) -> None:
    """Providers bill us for what they started, so a person may cancel started jobs only so often.

    Locks: this person's count, by an advisory lock, so that parallel requests cannot all be the last.
    """
    number = int.from_bytes(hashlib.sha256(f"late-cancel:{job.user_id}".encode()).digest()[:8], signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [number])
    today = Generation.objects.filter(
        user=job.user_id, state=State.CANCELED, was_submitted=True, finished_at__gt=Now() - timedelta(days=1)
    )
    if today.count() >= settings.GENERATION_LATE_CANCELS_PER_DAY:
        raise CancelLimitReached(retry_after=3600, charged="held")


def may_be_retried(job: Generation) -> bool:
    """Whether the job, as it is, may be ordered again."""
    return job.state == State.FAILED and job.error_code != "moderated" and job.round <= MAX_RETRIES


@audit.writes("generation")
def retry(*, user: Any, job_id: UUID) -> Generation:
    """Order a failed job again: the next round, its own hold and deadline, at the lower of the two prices.

    Locks: the job, its photos, then the wallet; of an avatar, itself and the person's places after the job.
    Raises: NotFound, NotRetryable, AvatarLimitReached, OperationUnavailable, NotSold, Moderated, InsufficientCredits,
        DebtOutstanding.
    Enqueues: the workers of its queue.
    """
    with transaction.atomic():
        job = _locked(user, job_id)
        if not may_be_retried(job):
            raise NotRetryable(charged=charged(job))
        if job.kind == Kind.AVATAR:
            _count_avatar_again(user, job)
        operation = operations.choose(Kind(job.kind), job.operation)
        used = list(JobPhoto.objects.filter(generation=job).order_by("position").values_list("photo_id", flat=True))
        try:
            photos.lock_usable(user=user, ids=used)
        except NotFound as error:
            raise NotRetryable("The photo of this job has been deleted; order a new one.") from error
        if not used and not job.archive_id and operation.photos_min:
            raise NotRetryable("The archive of this job is gone; order a new one.")
        moderation.check(operations.texts(operation, job.params))
        priced = {name: value for name, value in job.params.items() if name in operation.limits}
        moves.move(
            job.pk,
            State.QUEUED,
            where=Q(),
            origins=[State.FAILED],
            round=job.round + 1,
            price=min(job.price, operations.price(operation, priced)),
            provider=operation.provider,
            model=operation.model,
            queue=operations.queue(operation),
            stage=1,
            attempt=None,
            was_submitted=False,
            progress=0,
            error_code="",
            error_message="",
            finished_at=None,
            next_at=Now(),
            round_started_at=Now(),
            deadline_at=Now() + deadline(job.kind),
        )
        job.refresh_from_db()
        audit.record(
            "generation.retried",
            job,
            user=user,
            old={"state": State.FAILED, "round": job.round - 1},
            new={"state": job.state, "round": job.round, "price": job.price},
        )
        _hold(job)
        wake_ups.wake(moves.WAKES[job.queue])
    return job


def _count_avatar_again(user: Any, job: Generation) -> None:
    """A failed avatar has given its place up; one that is deleted wants no face.

    Locks: the avatar, so that it is not deleted meanwhile.
    Raises: NotRetryable, AvatarLimitReached.
    """
    mine = Avatar.objects.visible_to(user).filter(generations=job)
    avatar = mine.select_for_update(of=("self",), no_key=True).first()
    if avatar is None:
        raise NotRetryable("The avatar of this job has been deleted; make a new one.")
    if avatar.generation_id == job.pk:
        avatar_limit.take_place(user)


@audit.writes("generation")
def delete(*, user: Any, job_id: UUID) -> None:
    """Hide the job from its owner; its files go. An open one is cancelled first. The row stays: it held money.

    Locks: as `cancel`, then the avatar that shows what it made.
    Raises: as `cancel`.
    Enqueues: generation.sweep
    """
    with transaction.atomic():
        job = _locked(user, job_id)
        if job.is_open:
            cancel(user=user, job_id=job_id)
        Generation.objects.filter(pk=job.pk).update(deleted_at=Now())
        outputs.purge(Asset.objects.filter(generation=job).exclude(pk__in=_faces_in_use(job)))
        uploads.let_archives_go(Generation.objects.filter(pk=job.pk))
        audit.record("generation.deleted", job, user=user)
        wake_ups.wake("generation.sweep")


def _faces_in_use(job: Generation) -> list[UUID]:
    """Outputs that an avatar still shows: they go with it, or when it has another face."""
    shown = Avatar.objects.filter(thumbnail__generation=job, deleted_at=None)
    locked = shown.select_for_update(of=("self",), no_key=True).order_by("pk")
    return [face_id for face_id in locked.values_list("thumbnail_id", flat=True) if face_id]

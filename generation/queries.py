"""Reading jobs and photos, always as somebody."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Count, Prefetch, Q, QuerySet, Sum

from core.errors import NotFound
from generation.errors import NotFinished
from generation.models import OPEN, Asset, Avatar, Generation, JobPhoto, Kind, Operation, Photo, State
from generation.models.avatars import IS_STATUS


def jobs(user: Any) -> QuerySet[Generation]:
    """The person's jobs, newest first, with all that showing them takes: three queries however many."""
    return (
        Generation.objects.visible_to(user)
        .order_by("-created_at", "-id")
        .prefetch_related(
            Prefetch("assets", Asset.objects.filter(purged_at=None).select_related("file", "thumbnail")),
            Prefetch("inputs", JobPhoto.objects.order_by("position")),
        )
    )


def job(user: Any, job_id: UUID) -> Generation:
    """One of the person's jobs, with all that showing it takes.

    Raises: NotFound.
    """
    found = jobs(user).filter(pk=job_id).first()
    if found is None:
        raise NotFound
    return found


def provider_again(user: Any, job_id: UUID) -> str | None:
    """Who would make one of the person's jobs if it were retried. One query."""
    operation = Generation.objects.visible_to(user).filter(pk=job_id).values("operation")
    return Operation.objects.filter(code__in=operation).values_list("provider", flat=True).first()


def avatars(user: Any) -> QuerySet[Avatar]:
    """The person's avatars, newest first, with all that showing them takes: three queries however many."""
    return (
        Avatar.objects.visible_to(user)
        .order_by("-created_at", "-id")
        .select_related("generation", "thumbnail__file", "thumbnail__thumbnail")
        .prefetch_related(
            Prefetch("generation__assets", Asset.objects.filter(purged_at=None).select_related("file", "thumbnail")),
            Prefetch("generation__inputs", JobPhoto.objects.order_by("position")),
        )
    )


def avatar(user: Any, avatar_id: UUID) -> Avatar:
    """One of the person's avatars, with all that showing it takes.

    Raises: NotFound.
    """
    found = avatars(user).filter(pk=avatar_id).first()
    if found is None:
        raise NotFound
    return found


def avatar_stats(user: Any) -> dict[str, Any]:
    """The person's avatars in figures, and the one that most was made with. Two queries."""
    mine = Avatar.objects.visible_to(user)
    counts = {status.value: Count("id", filter=condition) for status, condition in IS_STATUS.items()}
    of_it = Q(generations__state=State.SUCCEEDED) & ~Q(generations__kind=Kind.AVATAR)
    used = mine.annotate(generation_count=Count("generations", filter=of_it)).filter(generation_count__gt=0)
    most = used.order_by("-generation_count", "id").values("id", "name", "generation_count").first()
    return mine.aggregate(total=Count("id"), **counts) | {"most_used_avatar": most}


def photos(user: Any) -> QuerySet[Photo]:
    """The person's photos, newest first."""
    return Photo.objects.visible_to(user).select_related("file").order_by("-created_at", "-id")


def operations() -> QuerySet[Operation]:
    """Everything that is for sale, switched off or not."""
    return Operation.objects.order_by("kind", "code")


def output(job: Generation, output_id: UUID | None) -> Asset:
    """The named output of a finished job, or its first.

    Raises: NotFinished, NotFound for an output that is not this job's.
    """
    if job.state != State.SUCCEEDED:
        raise NotFinished
    found = [asset for asset in job.assets.all() if asset.file and output_id in (None, asset.pk)]
    if not found:
        raise NotFound("This job has no such output.")
    return found[0]


def stats(user: Any, *, kind: str | None = None) -> dict[str, Any]:
    """The person's jobs in figures, deleted ones included: they were paid for. One query.

    Units: credits; `success_rate` is succeeded / (succeeded + failed), null before anything ended.
    """
    mine = Generation.objects.filter(user=user)
    if kind:
        mine = mine.filter(kind=kind)
    by_state = {state: Count("id", filter=Q(state=state)) for state in State.values}
    found = mine.aggregate(
        total=Count("id"),
        credits_used=Sum("price", filter=Q(state=State.SUCCEEDED), default=0),
        credits_held=Sum("price", filter=Q(state__in=OPEN), default=0),
        **by_state,
    )
    ended = found[State.SUCCEEDED.value] + found[State.FAILED.value]
    return {
        "total": found["total"],
        "by_status": {state: found[state] for state in State.values},
        "success_rate": round(found[State.SUCCEEDED.value] / ended, 4) if ended else None,
        "credits_used": found["credits_used"],
        "credits_held": found["credits_held"],
    }

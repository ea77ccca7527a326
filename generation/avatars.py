"""What customers do with avatars: make, edit, give another face, delete, and have pictures made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

import audit
from core.errors import Conflict, NotFound
from core.ids import new_id
from generation import adults, avatar_limit, jobs, moderation, outputs
from generation.errors import AvatarNotReady, TooLateToCancel
from generation.models import Asset, Avatar, AvatarStatus, Generation, Kind

EDITABLE = ("name", "description", "content_category")
THUMBNAIL = "avatar.thumbnail"


@audit.writes("avatar")
def create(*, user: Any, params: Mapping[str, Any], quote: str | None = None) -> Avatar:
    """Order an avatar: its place, its job with the hold, its row, all or nothing.

    Locks: the person's places, then as `jobs.create`.
    Raises: AvatarLimitReached, and as `jobs.create`.
    Enqueues: the workers of its queue.
    """
    avatar_id = new_id()
    with transaction.atomic():
        avatar_limit.take_place(user)
        adults.check({name: text for name, text in params.items() if isinstance(text, str)})
        request = jobs.Request(kind=Kind.AVATAR, params=params, quote=quote, avatar_id=avatar_id)
        job = jobs.create(user=user, request=request)
        avatar = Avatar.objects.create(
            id=avatar_id,
            user=user,
            generation=job,
            name=params["name"],
            description=params["description"],
            style=params.get("style", ""),
            content_category=params.get("content_category", "sfw"),
        )
        audit.record("avatar.created", avatar, user=user, metadata={"generation": job.pk, "price": job.price})
    return avatar


@audit.writes("avatar")
def edit(*, user: Any, avatar_id: UUID, changes: Mapping[str, str]) -> Avatar:
    """Change how the avatar is called and described. Its profile, its job and their price stay as they are.

    Locks: the avatar.
    Raises: NotFound, Moderated.
    """
    if unknown := changes.keys() - set(EDITABLE):
        raise ValueError(f"not to be edited: {', '.join(sorted(unknown))}")
    moderation.check(changes)
    adults.check(changes)
    with transaction.atomic():
        avatar = _locked(user, avatar_id)
        old = {name: getattr(avatar, name) for name in changes if getattr(avatar, name) != changes[name]}
        if old:
            new = {name: changes[name] for name in old}
            Avatar.objects.filter(pk=avatar.pk).update(**new, updated_at=Now())
            audit.record(
                "avatar.updated",
                avatar,
                user=user,
                metadata={"fields": sorted(new)},
                personal={"old": old, "new": new},
            )
    return avatar


def _locked(user: Any, avatar_id: UUID) -> Avatar:
    visible = Avatar.objects.visible_to(user).filter(pk=avatar_id)
    avatar = visible.select_for_update(of=("self",), no_key=True).select_related("generation").first()
    if avatar is None:
        raise NotFound
    return avatar


@audit.writes("generation")
def regenerate_thumbnail(*, user: Any, avatar_id: UUID, quote: str | None = None) -> Generation:
    """Order another face for a finished avatar. The one it has stays until the new one is paid.

    Locks: the avatar, then as `jobs.create`.
    Raises: NotFound, AvatarNotReady, and as `jobs.create`.
    Enqueues: the workers of its queue.
    """
    with transaction.atomic():
        if _locked(user, avatar_id).status is not AvatarStatus.READY:
            raise AvatarNotReady
        request = jobs.Request(kind=Kind.AVATAR, operation=THUMBNAIL, quote=quote, avatar_id=avatar_id)
        return jobs.create(user=user, request=request)


@audit.writes("avatar")
def delete(*, user: Any, avatar_id: UUID) -> None:
    """Take the avatar away from its owner. What was made with it stays; what makes it is cancelled.

    Locks: its open jobs as `jobs.cancel`, then the avatar: the order in which a job that ends locks them too.
    Raises: NotFound, TooLateToCancel, CancelLimitReached; Conflict when another face was ordered meanwhile.
    """
    with transaction.atomic():
        if not Avatar.objects.visible_to(user).filter(pk=avatar_id).exists():
            raise NotFound
        making = Generation.objects.open().filter(avatar=avatar_id, kind=Kind.AVATAR).order_by("pk")
        for job_id in list(making.values_list("pk", flat=True)):
            try:
                jobs.cancel(user=user, job_id=job_id)
            except TooLateToCancel:
                if making.filter(pk=job_id).exists():
                    raise
                # It ended while we waited for its lock: there is nothing left to cancel.
        if not Avatar.objects.visible_to(user).filter(pk=avatar_id).update(deleted_at=Now()):
            raise NotFound
        if making.exists():
            raise Conflict(retry_after=1)
        outputs.purge(Asset.objects.filter(face_of=avatar_id, generation__deleted_at__isnull=False))
        audit.record("avatar.deleted", ("avatar", avatar_id), user=user)


def resolve(*, user: Any, avatar_id: UUID) -> Avatar:
    """The avatar that a picture is to be made of.

    Raises: NotFound for one that is not theirs, AvatarNotReady.
    """
    avatar = Avatar.objects.visible_to(user).filter(pk=avatar_id).select_related("generation").first()
    if avatar is None:
        raise NotFound("There is no such avatar.")
    if avatar.status is not AvatarStatus.READY:
        raise AvatarNotReady
    return avatar

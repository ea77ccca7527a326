"""What the engine knows of avatars: what is sent for them, and what they have when a job of theirs is settled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from django.db.models.functions import Now

import audit
from core import storage
from generation import outputs, profiles
from generation.models import Asset, Avatar, Generation, Kind
from generation.providers.base import Input


def likeness(job: Generation) -> tuple[Mapping[str, Any], tuple[Input, ...]]:
    """The job's parameters as the provider gets them, and the face that the picture is to have.

    Whoever makes a picture of an avatar sends its description before the customer's words; whoever makes it a new
    face, its description alone. What the customer wrote stays on the job as it was.
    """
    avatar = job.avatar
    if avatar is None or avatar.generation_id == job.pk:
        return job.params, ()
    if job.kind == Kind.AVATAR:
        return {"prompt": profiles.portrait_of(avatar.profile)}, ()
    prompt = profiles.picture_of(avatar.profile, job.params.get("prompt", ""))
    return job.params | {"prompt": prompt}, _face(avatar)


def _face(avatar: Avatar) -> tuple[Input, ...]:
    face = avatar.thumbnail
    if face is None or face.file is None:
        return ()  # deleted since, with the job that made it; its description is still there
    return (Input(face.content_type, face.bytes, partial(storage.open, face.file.key)),)


@audit.writes("avatar")
def keep(job: Generation, *, data: Mapping[str, Any], made: Sequence[Asset]) -> None:
    """In the transaction that settles a job of kind avatar: give the avatar its profile and its face, or its new face.

    Locks: the avatar, after the job.
    """
    avatar = Avatar.objects.select_for_update(of=("self",), no_key=True).get(generations=job)
    is_new = avatar.generation_id == job.pk
    changes = {"profile": data["profile"]} if is_new else {}
    Avatar.objects.filter(pk=avatar.pk).update(thumbnail=made[0], updated_at=Now(), **changes)
    if avatar.thumbnail_id is not None:
        outputs.purge(Asset.objects.filter(pk=avatar.thumbnail_id, generation__deleted_at__isnull=False))
    audit.record(
        "avatar.ready" if is_new else "avatar.thumbnail_changed",
        avatar,
        user=job.user_id,
        old={"thumbnail": avatar.thumbnail_id},
        new={"thumbnail": made[0].pk},
        metadata={"generation": job.pk},
    )

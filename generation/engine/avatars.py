"""What the engine knows of avatars: what is sent for them, and what they have when a job of theirs is settled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from django.db.models.functions import Now

import audit
from core import storage
from generation import moderation, outputs, profiles
from generation.models import Asset, Avatar, Generation, Kind
from generation.providers.base import Input, Rejected, Submitted


def likeness(job: Generation) -> tuple[Mapping[str, Any], tuple[Input, ...]]:
    """What the provider gets beside the job's own parameters, and the face that the picture is to have.

    For a picture of an avatar that is its description, to stand before the customer's words; for another thumbnail, the
    whole prompt. The job's own parameters stay as the customer wrote them.
    """
    avatar = job.avatar
    if avatar is None or avatar.generation_id == job.pk:
        return {}, ()
    if job.kind == Kind.AVATAR:
        return {"prompt": profiles.portrait_of(avatar.profile)}, ()
    return {"base_prompt": profiles.likeness_of(avatar.profile)}, _face(avatar)


def _face(avatar: Avatar) -> tuple[Input, ...]:
    face = avatar.thumbnail
    if face is None or face.file is None:
        return ()  # deleted since, with the job that made it; its description is still there
    return (Input(face.content_type, face.bytes, partial(storage.open, face.file.key)),)


def refusal(submitted: Submitted) -> Rejected | None:
    """Why what a provider wrote of an avatar is not kept: we would not have taken it from a customer either."""
    profile = submitted.data.get("profile")
    blocked = profile and moderation.block_list().category_of(" . ".join(profiles.texts(profile)))
    return Rejected(f"the profile is {blocked}", code="moderated", cost=submitted.cost) if blocked else None


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

"""What generation tells a person of themselves (settings.ACCOUNT_EXPORT)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import F

from accounts.exports import Bytes, Part, Rows
from generation.models import Asset, Avatar, Generation, Photo

_PHOTO = (
    "id", "created_at", "filename", "title", "description", "width", "height", "camera_make", "camera_model",
    "focal_length_mm",
)  # fmt: skip
_JOB = (
    "id", "created_at", "kind", "operation", "avatar", "params", "data", "price", "state", "error_code", "finished_at",
    "deleted_at",
)  # fmt: skip
_AVATAR = (
    "id", "created_at", "updated_at", "name", "description", "style", "content_category", "profile", "generation",
)  # fmt: skip


def export(*, user: Any) -> Iterator[Part]:
    """Photos, avatars and jobs, and the pictures themselves: links would run out, and a copy is what was asked for."""
    photos = Photo.objects.visible_to(user).order_by("created_at")
    yield Rows("photos", photos.values(*_PHOTO).iterator())
    avatars = Avatar.objects.visible_to(user).order_by("created_at")
    yield Rows("avatars", avatars.values(*_AVATAR, face=F("thumbnail__generation")).iterator())
    yield Rows("generations", Generation.objects.filter(user=user).order_by("created_at").values(*_JOB).iterator())
    for photo_id, key in photos.values_list("pk", "file__key").iterator():
        yield Bytes(f"photos/{photo_id}.{key.rpartition('.')[2]}", key)
    outputs = Asset.objects.filter(generation__user=user, purged_at=None).order_by("generation_id", "position")
    for job_id, position, key in outputs.values_list("generation_id", "position", "file__key").iterator():
        yield Bytes(f"generations/{job_id}-{position}.{key.rpartition('.')[2]}", key)

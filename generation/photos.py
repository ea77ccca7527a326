"""Photos: taken in, shown to their owner, deleted. Only our re-encoded copy is ever stored."""

from __future__ import annotations

import os
import unicodedata
from typing import IO, Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

import audit
from core import files, jobs, pictures, storage
from core.errors import NotFound
from core.ids import new_id
from core.killpoints import reach
from generation.models import Generation, JobPhoto, Photo, Purpose

_MAX_NAME = 120


def plain_filename(name: str) -> str:
    """The customer's file name as something to show: its last part, no control characters, bounded."""
    last = os.path.basename(name.replace("\\", "/"))
    shown = "".join(c for c in unicodedata.normalize("NFC", last) if c.isprintable()).strip()
    return shown[-_MAX_NAME:] or "photo"


@audit.writes("photo")
def upload(
    *,
    user: Any,
    file: IO[bytes],
    filename: str,
    purpose: str = Purpose.PHOTO,
    title: str = "",
    description: str = "",
    photo_id: UUID | None = None,
) -> Photo:
    """Take in a picture: decode it to prove it, re-encode it, store it, keep the row.

    Idempotent: by `photo_id`, when the caller names it beforehand.
    Raises: UnsupportedMediaType, TooLarge, TooManyPixels, ImageUnreadable; nothing is kept then.
    """
    known = Photo.objects.filter(pk=photo_id, user=user).first() if photo_id else None
    if known is not None:
        return known
    picture = decode(file, purpose)
    with picture.jpeg:
        photo = draft(picture, user=user, filename=filename, purpose=purpose, title=title, description=description)
        photo.pk = photo_id or photo.pk
        keep_bytes(photo, picture.jpeg)
        return keep(photo)


def decode(file: IO[bytes], purpose: str) -> pictures.Picture:
    """Prove the picture and re-encode it as its purpose wants it.

    Raises: UnsupportedMediaType, TooLarge, TooManyPixels, ImageUnreadable.
    """
    return pictures.view(file) if purpose == Purpose.MODEL3D else pictures.photo(file)


def draft(
    picture: pictures.Picture,
    *,
    user: Any,
    filename: str,
    purpose: str = Purpose.PHOTO,
    title: str = "",
    description: str = "",
) -> Photo:
    """An unsaved photo, and the committed intent to write its file."""
    (file,) = files.intend([f"photos/{user.pk}/{new_id()}.jpg"])
    return Photo(
        user=user,
        file=file,
        purpose=purpose,
        filename=plain_filename(filename),
        title=title,
        description=description,
        content_type="image/jpeg",
        bytes=picture.bytes,
        sha256=picture.sha256,
        width=picture.width,
        height=picture.height,
        original_format=picture.format,
        original_bytes=picture.original_bytes,
        original_width=picture.original_width,
        original_height=picture.original_height,
        focal_length_mm=picture.focal_length_mm,
        camera_make=picture.camera_make,
        camera_model=picture.camera_model,
    )


def keep_bytes(photo: Photo, jpeg: IO[bytes]) -> None:
    """Write the file. Makes no query: it may run beside the thread that owns the connection."""
    assert photo.file is not None
    jpeg.seek(0)
    storage.save(photo.file.key, jpeg, photo.content_type)
    reach("generation.photos.saved")


@audit.writes("photo")
def keep(photo: Photo) -> Photo:
    """Save the photo whose bytes are stored."""
    assert photo.file is not None
    with transaction.atomic():
        files.adopt([photo.file.pk])
        photo.save(force_insert=True)
        audit.record(
            "photo.uploaded",
            photo,
            user=photo.user_id,
            new={"bytes": photo.bytes, "width": photo.width, "height": photo.height, "sha256": photo.sha256},
        )
    return photo


@audit.writes("photo")
def delete(*, user: Any, photo_id: UUID) -> None:
    """Hide the photo at once; its bytes go when no open job uses it.

    Locks: the photo, so that no job starts with it meanwhile.
    Enqueues: generation.sweep
    Raises: NotFound.
    """
    with transaction.atomic():
        hidden = Photo.objects.visible_to(user).filter(pk=photo_id).update(deleted_at=Now())
        if not hidden:
            raise NotFound
        audit.record("photo.deleted", ("photo", photo_id), user=user)
        jobs.wake("generation.sweep")


def lock_usable(*, user: Any, ids: list[UUID]) -> list[Photo]:
    """The person's photos for a job, in the order asked, locked so that none is deleted before the job is there.

    Raises: NotFound when one is not theirs, or deleted.
    """
    locked = Photo.objects.visible_to(user).filter(pk__in=ids)
    found = {photo.pk: photo for photo in locked.select_for_update(of=("self",), no_key=True).order_by("pk")}
    if set(found) != set(ids):
        raise NotFound("There is no such photo.")
    return [found[photo_id] for photo_id in ids]


def purge_deleted(limit: int = 100) -> int:
    """Let go of the bytes of deleted photos that no open job uses. Returns how many.

    Locks: each photo; one already locked waits for the next sweep.
    """
    with transaction.atomic():
        in_use = JobPhoto.objects.filter(photo=OuterRef("pk"), generation__in=Generation.objects.open())
        doomed = list(
            Photo.objects.filter(~Exists(in_use), deleted_at__isnull=False, file__isnull=False)
            .select_for_update(of=("self",), no_key=True, skip_locked=True)
            .order_by("pk")[:limit]
        )
        file_ids = [photo.file_id for photo in doomed if photo.file_id]
        Photo.objects.filter(pk__in=[photo.pk for photo in doomed]).update(file=None)
        files.let_go(file_ids)
    return len(doomed)

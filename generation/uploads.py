"""Photos that their owners put into the storage themselves: announced, put, taken in.

What was put lies in `incoming/` and is read once, by the decoder: only our re-encoded copy is ever shown or used.
Its row of core.files stays for the whole day, so that bytes put again through a link that still holds go too.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

import audit
from core import clock, files, pictures, storage
from core.errors import Conflict, Error, Invalid, NotFound, TooLarge, UnsupportedMediaType, detail
from core.ids import new_id
from core.killpoints import reach
from core.models import StoredObject
from generation import photos
from generation.errors import UploadIncomplete
from generation.models import Generation, Photo, Purpose, Upload

log = structlog.get_logger("uploads")

_PICTURES = ("image/jpeg", "image/png", "image/gif", "image/webp")
# What each purpose takes; the address is signed for one of these types.
CONTENT_TYPES: Mapping[str, tuple[str, ...]] = {
    Purpose.PHOTO: _PICTURES,
    Purpose.MODEL3D: (*_PICTURES, "image/tiff"),
    Purpose.ARCHIVE: ("application/zip",),
}
# Longer than decoding may take, and storing what came of it.
_LEASE = timedelta(minutes=3)


def max_bytes(purpose: str) -> int:
    """The largest file that may be announced for it."""
    limit: int = settings.ARCHIVE_MAX_BYTES if purpose == Purpose.ARCHIVE else settings.PHOTO_MAX_BYTES
    return limit


@audit.writes("upload")
def announce(
    *,
    user: Any,
    filename: str,
    content_type: str,
    bytes: int,
    purpose: str = Purpose.PHOTO,
    title: str = "",
    description: str = "",
) -> Upload:
    """Make ready for a file that its owner will put; `door` says where.

    Raises: UnsupportedMediaType, TooLarge.
    """
    if content_type not in CONTENT_TYPES[purpose]:
        raise UnsupportedMediaType(f"Send one of {', '.join(CONTENT_TYPES[purpose])}.")
    if bytes > (limit := max_bytes(purpose)):
        raise TooLarge(f"The file is larger than {limit // 1_000_000} MB.")
    upload_id = new_id()
    with transaction.atomic():
        (file,) = files.intend([f"incoming/{user.pk}/{upload_id}"])
        upload = Upload.objects.create(
            id=upload_id,
            user=user,
            file=file,
            purpose=purpose,
            filename=photos.plain_filename(filename),
            title=title,
            description=description,
            content_type=content_type,
            bytes=bytes,
        )
        told = {"purpose": purpose, "content_type": content_type, "bytes": bytes}
        audit.record("upload.announced", upload, user=user, new=told)
    return upload


def door(upload: Upload) -> tuple[storage.Door, datetime]:
    """Where its owner puts the bytes, and until when."""
    expires_s = settings.UPLOAD_URL_S
    opened = storage.door(upload.file.key, content_type=upload.content_type, bytes=upload.bytes, expires_s=expires_s)
    return opened, clock.now() + timedelta(seconds=expires_s)


def complete(*, user: Any, upload_id: UUID) -> Photo:
    """Take in what was put: the same checks as an upload through us. What is refused is dropped and can be put again.

    Idempotent: by the photo, which has the upload's id.
    Locks: the upload, by a lease, so that one call at a time decodes it.
    Raises: NotFound; UploadIncomplete while the bytes are not there; Conflict while another call takes them in;
        Invalid, UnsupportedMediaType, TooLarge, TooManyPixels, ImageUnreadable; StorageAway, which drops nothing.
    """
    done = _taken(user, upload_id)
    if done is not None:
        return done
    if Upload.objects.filter(pk=upload_id, user=user, purpose=Purpose.ARCHIVE).exists():
        raise Invalid("An archive is not completed: order the model with it.")
    upload = _claim(user, upload_id)
    if upload is None:
        if Upload.objects.filter(pk=upload_id, user=user).exists():
            raise Conflict("This upload is being taken in right now; ask again.", retry_after=1)
        return _done_meanwhile(user, upload_id)
    try:
        picture = _decode(upload)
        with picture.jpeg:
            photo = photos.draft(
                picture,
                user=user,
                filename=upload.filename,
                purpose=upload.purpose,
                title=upload.title,
                description=upload.description,
            )
            photo.pk = upload.pk
            photos.keep_bytes(photo, picture.jpeg)
        is_ours = _keep(upload, photo)
    finally:
        _release(upload)
    reach("generation.uploads.kept")
    _drop(upload)
    return photo if is_ours else _done_meanwhile(user, upload_id)


def check_put(*, user: Any, archive_id: UUID) -> None:
    """Whether the archive's bytes are there, all of them. What is in them, the job looks at.

    Raises: NotFound, UploadIncomplete.
    """
    upload = Upload.objects.filter(pk=archive_id, user=user, purpose=Purpose.ARCHIVE).select_related("file").first()
    if upload is None:
        raise NotFound("There is no such archive.")
    try:
        with storage.reached(), storage.open(upload.file.key) as file:
            size: int = file.size  # type: ignore[attr-defined]  # as in _decode
    except FileNotFoundError as error:
        raise UploadIncomplete from error
    if size != upload.bytes:
        raise UploadIncomplete(f"{upload.bytes} bytes were announced, {size} came.")


def take_archive(*, user: Any, archive_id: UUID) -> StoredObject:
    """In the transaction of the job that works from it: the archive stays, and is nobody else's.

    Locks: the upload.
    Raises: NotFound.
    """
    mine = Upload.objects.filter(pk=archive_id, user=user, purpose=Purpose.ARCHIVE, file__expires_at__gt=Now())
    upload = mine.select_for_update(of=("self",)).select_related("file").first()
    if upload is None:
        raise NotFound("There is no such archive.")
    files.adopt([upload.file.pk])
    upload.delete()
    return upload.file


def let_archives_go(jobs: QuerySet[Generation]) -> int:
    """In the transaction that ends their use. They go once no link can put them again. Returns how many.

    Enqueues: core.remove_files
    """
    found = list(jobs.filter(archive__isnull=False).values_list("pk", "archive"))
    Generation.objects.filter(pk__in=[pk for pk, _ in found]).update(archive=None)
    files.let_go((file_id for _, file_id in found), not_before_s=settings.UPLOAD_URL_S)
    return len(found)


def _taken(user: Any, upload_id: UUID) -> Photo | None:
    return Photo.objects.visible_to(user).filter(pk=upload_id).first()


def _done_meanwhile(user: Any, upload_id: UUID) -> Photo:
    done = _taken(user, upload_id)
    if done is None:
        raise NotFound
    return done


def _claim(user: Any, upload_id: UUID) -> Upload | None:
    mine = Upload.objects.filter(pk=upload_id, user=user).select_related("file")
    free = Q(locked_until=None) | Q(locked_until__lte=Now())
    return mine.first() if mine.filter(free).update(locked_until=Now() + _LEASE) else None


def _release(upload: Upload) -> None:
    Upload.objects.filter(pk=upload.pk).update(locked_until=None)


def _keep(upload: Upload, photo: Photo) -> bool:
    """Returns whether the upload was still there to become the photo."""
    with transaction.atomic():
        is_there, _ = Upload.objects.filter(pk=upload.pk).delete()
        if is_there:
            photos.keep(photo)
    return bool(is_there)


def _decode(upload: Upload) -> pictures.Picture:
    try:
        with storage.reached(), storage.open(upload.file.key) as file:
            size: int = file.size  # type: ignore[attr-defined]  # Django's files say it before anything is read
            if size != upload.bytes:
                raise Invalid(
                    details=[detail("mismatch", f"{upload.bytes} bytes were announced, {size} came.", "bytes")]
                )
            return photos.decode(file, upload.purpose)
    except FileNotFoundError as error:
        raise UploadIncomplete from error
    except storage.StorageAway:
        raise
    except Error:
        _drop(upload)
        raise


def _drop(upload: Upload) -> None:
    """Remove what was put now rather than in a day."""
    try:
        storage.delete(upload.file.key)
    except Exception:  # each storage has errors of its own; the sweeper comes for it
        log.exception("upload_not_dropped", upload=str(upload.pk))


@audit.writes("upload")
def forget(*, user: Any) -> None:
    """Drop what a person was about to bring.

    Idempotent: yes.
    """
    for upload in Upload.objects.filter(user=user).select_related("file"):
        _drop(upload)
        with transaction.atomic():
            audit.record("upload.forgotten", upload, user=user)
            upload.delete()

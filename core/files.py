"""Files in the storage, each with a row that is written first, so that the sweeper knows of every byte."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

import structlog
from django.db.models import F
from django.db.models.functions import Greatest, Now

from core import jobs, storage
from core.killpoints import reach
from core.models import StoredObject

log = structlog.get_logger("files")

_TRY_AGAIN = timedelta(hours=1)
_EXTENSIONS = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/gif": "gif",
    "video/mp4": "mp4",
    "application/zip": "zip",
    "model/gltf-binary": "glb",
    "model/obj": "obj",
    "model/ply": "ply",
}


def extension(content_type: str) -> str:
    """The ending that goes with the type."""
    return _EXTENSIONS[content_type]


def intend(keys: Iterable[str]) -> list[StoredObject]:
    """Commit that these keys are about to be written; unreferenced they go after a day."""
    return StoredObject.objects.bulk_create([StoredObject(key=key) for key in keys])


def adopt(ids: Iterable[UUID]) -> None:
    """In the transaction that refers to the files: they stay.

    Raises: LookupError when one has expired, which no honest writer lives long enough to see.
    """
    wanted = list(ids)
    kept = StoredObject.objects.filter(pk__in=wanted, expires_at__gt=Now()).update(expires_at=None)
    if kept != len(wanted):
        raise LookupError("a stored file expired before it was referred to")


def let_go(ids: Iterable[UUID], *, not_before_s: float = 0) -> None:
    """In the transaction that stops referring to the files: they are removed after it.

    `not_before_s`: but not before so long after they were announced, since until then they might be put again.
    Enqueues: core.remove_files
    """
    at = Greatest(Now(), F("created_at") + timedelta(seconds=not_before_s))
    StoredObject.objects.filter(pk__in=list(ids)).update(expires_at=at)
    jobs.wake("core.remove_files")


def remove_expired(limit: int = 200) -> int:
    """Delete the bytes, then the rows, of files that nothing refers to. Returns how many.

    Idempotent: two sweepers remove the same thing twice, which is once.
    """
    expired = list(StoredObject.objects.filter(expires_at__lte=Now()).order_by("expires_at")[:limit])
    removed = 0
    for found in expired:
        row = StoredObject.objects.filter(pk=found.pk)
        try:
            storage.delete(found.key)
        except Exception:  # each storage has errors of its own; one file must not keep the others
            log.exception("file_not_deleted", key=found.key)
            row.update(expires_at=Now() + _TRY_AGAIN)
            continue
        reach("files.deleted")
        row.delete()
        removed += 1
    return removed

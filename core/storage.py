"""Files: one storage (S3-compatible, or a local folder), keys of our own making, links that are minted on read."""

from __future__ import annotations

from typing import IO, Any
from urllib.parse import quote

from django.conf import settings
from django.core import signing
from django.core.files.base import File
from django.core.files.storage import FileSystemStorage, default_storage
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from core import clock

_SALT = "core.storage.file"


def save(key: str, file: IO[bytes], content_type: str) -> str:
    """Store the bytes under exactly this key, streamed. Keys are never reused, so nothing is overwritten.

    Raises: ValueError when the storage would have renamed it: the key was taken.
    """
    wrapped = File(file, name=key)
    wrapped.content_type = content_type  # type: ignore[attr-defined]  # read by the S3 storage
    stored = default_storage.save(key, wrapped)
    if stored != key:
        default_storage.delete(stored)
        raise ValueError(f"storage key {key!r} is taken")
    return stored


def open(key: str) -> IO[bytes]:
    """The stored bytes, as a file to read in pieces.

    Raises: FileNotFoundError when there is none.
    """
    return default_storage.open(key, "rb")


def delete(key: str) -> None:
    """Remove the bytes. Idempotent: what is gone is gone."""
    default_storage.delete(key)


def exists(key: str) -> bool:
    """Whether bytes are stored under the key."""
    return default_storage.exists(key)


def signed_url(key: str, *, filename: str | None = None, expires_s: int | None = None) -> str:
    """An absolute link that anybody may follow until it expires. Never store it.

    Units: seconds; default settings.SIGNED_URL_S.
    """
    expires_s = expires_s or settings.SIGNED_URL_S
    if isinstance(default_storage, FileSystemStorage) or not settings.S3_BUCKET:
        expires_at = int(clock.now().timestamp()) + expires_s
        name: dict[str, Any] = {"k": key, "e": expires_at} | ({"n": filename} if filename else {})
        return f"{settings.PUBLIC_URL}/files/{signing.dumps(name, salt=_SALT, compress=True)}"
    parameters = {"ResponseContentDisposition": f"attachment; filename*=UTF-8''{quote(filename)}"} if filename else None
    return default_storage.url(key, parameters=parameters, expire=expires_s)  # type: ignore[call-arg]


@require_safe
def serve(request: HttpRequest, signed: str) -> HttpResponse | FileResponse:
    """GET /files/{signed}: stream a locally stored file to whoever holds an unexpired link."""
    try:
        name = signing.loads(signed, salt=_SALT)
        left_s = name["e"] - clock.now().timestamp()
        if left_s <= 0:
            raise Http404
        file = open(name["k"])
    except (signing.BadSignature, FileNotFoundError) as error:
        raise Http404 from error
    response = FileResponse(file, as_attachment="n" in name, filename=name.get("n") or name["k"].rsplit("/", 1)[-1])
    # User content never runs as a page of ours.
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response["Cache-Control"] = f"private, max-age={min(int(left_s), 300)}"
    return response

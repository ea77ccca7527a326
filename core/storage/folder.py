"""Files in a folder of this machine, behind addresses of our own that are signed and run out."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core import signing
from django.core.files.storage import FileSystemStorage, default_storage
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_safe

from core import clock
from core.storage import Door, StorageAway, StorageUnusable, reached

_LINK = "core.storage.file"
_DOOR = "core.storage.door"
_CHUNK = 64 * 1024


class Folder(FileSystemStorage):
    """settings.MEDIA_ROOT."""

    FAILURES = (OSError,)

    def link(self, key: str, *, filename: str | None, expires_s: int) -> str:
        named: dict[str, Any] = {"k": key, "e": _end(expires_s)} | ({"n": filename} if filename else {})
        return f"{settings.PUBLIC_URL}/files/{signing.dumps(named, salt=_LINK, compress=True)}"

    def door(self, key: str, *, content_type: str, bytes: int, expires_s: int) -> Door:
        named = {"k": key, "e": _end(expires_s), "t": content_type, "b": bytes}
        url = f"{settings.PUBLIC_URL}/files/incoming/{signing.dumps(named, salt=_DOOR, compress=True)}"
        return Door(url, headers={"Content-Type": content_type})

    def check(self) -> None:
        place = Path(self.location)
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageUnusable(f"The folder {place} (MEDIA_ROOT) cannot be made: {error.strerror}.") from error
        if not os.access(place, os.W_OK | os.X_OK):
            raise StorageUnusable(f"The folder {place} (MEDIA_ROOT) cannot be written to.")

    def make(self) -> bool:
        return False  # check makes it

    def delete(self, name: str) -> None:
        super().delete(name)
        place = Path(self.path(name))
        for part in place.parent.glob(f".{place.name}-*"):  # of somebody killed while receiving
            part.unlink(missing_ok=True)

    def receive(self, key: str, request: HttpRequest, length: int) -> bool:
        """Stream the request's body under the key, whole or not at all. Returns whether it was whole."""
        place = Path(self.path(key))
        place.parent.mkdir(parents=True, exist_ok=True)
        number, part = tempfile.mkstemp(prefix=f".{place.name}-", dir=place.parent)
        try:
            with os.fdopen(number, "wb") as file:
                left = length
                while left and (chunk := request.read(min(left, _CHUNK))):
                    file.write(chunk)
                    left -= len(chunk)
            if left:
                return False
            os.replace(part, place)
            return True
        finally:
            with suppress(FileNotFoundError):
                os.unlink(part)


def _end(expires_s: int) -> int:
    return int(clock.now().timestamp()) + expires_s


def _read(signed: str, salt: str) -> tuple[Folder, dict[str, Any], float]:
    """The folder, what the address names, and how long it still holds.

    Raises: Http404.
    """
    try:
        named: dict[str, Any] = signing.loads(signed, salt=salt)
    except signing.BadSignature as error:
        raise Http404 from error
    left_s = named["e"] - clock.now().timestamp()
    if left_s <= 0 or not isinstance(default_storage, Folder):
        raise Http404
    return default_storage, named, left_s


@require_safe
def serve(request: HttpRequest, signed: str) -> HttpResponseBase:
    """GET /files/{signed}: stream a stored file to whoever holds an unexpired link."""
    folder, named, left_s = _read(signed, _LINK)
    try:
        file = folder.open(named["k"])
    except FileNotFoundError as error:
        raise Http404 from error
    response = FileResponse(file, as_attachment="n" in named, filename=named.get("n") or named["k"].rsplit("/", 1)[-1])
    # User content never runs as a page of ours.
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response["Cache-Control"] = f"private, max-age={min(int(left_s), 300)}"
    return response


@csrf_exempt
@require_http_methods(["PUT"])
def take(request: HttpRequest, signed: str) -> HttpResponse:
    """PUT /files/incoming/{signed}: the bytes that the address was made for, as S3 would take them."""
    folder, named, _ = _read(signed, _DOOR)
    length = request.headers.get("Content-Length", "")
    if not length.isdecimal():
        return _refusal(411, "Say how long the body is: send Content-Length.")
    if request.headers.get("Content-Type", "") != named["t"]:
        return _refusal(403, f"The address is for Content-Type {named['t']}.")
    if int(length) != named["b"]:
        return _refusal(413 if int(length) > named["b"] else 400, f"The address is for exactly {named['b']} bytes.")
    try:
        with reached():
            is_whole = folder.receive(named["k"], request, named["b"])
    except StorageAway as away:
        return _refusal(away.status, away.message)
    return HttpResponse() if is_whole else _refusal(400, "The body ended early.")


def _refusal(status: int, message: str) -> HttpResponse:
    return HttpResponse(f"{message}\n", status=status, content_type="text/plain; charset=utf-8")

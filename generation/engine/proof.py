"""Outputs proved: a kind's decoder opens each to its last byte or frame, and what was ordered is cut out of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import IO, Any

from core import pictures, videos
from core.errors import Error
from generation.models import Kind
from generation.photogrammetry import meshes
from generation.providers.base import Treatment

# What a kind's pictures may be. The provider's word and the file's name say nothing; the decoder does.
PICTURES: dict[str, tuple[str, ...]] = {
    kind: ("image/png", "image/jpeg", "image/webp") for kind in (Kind.HEADSHOT, Kind.IMAGE, Kind.AVATAR)
}


class BadOutput(Exception):
    """What came is not what a job of this kind makes."""


@dataclass(frozen=True, slots=True)
class Proved:
    """An output as it is to be stored, and its thumbnail (a JPEG), if any. Both are closed by whoever asked."""

    file: IO[bytes]
    thumbnail: IO[bytes] | None
    content_type: str
    bytes: int
    sha256: str
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None


def prove(kind: str, file: IO[bytes], treatment: Treatment) -> Proved:
    """Open what came for a job of this kind, and treat it. What needs no treatment stays byte for byte as it came.

    Raises: BadOutput.
    """
    if kind == Kind.VIDEO:
        return _film(file, treatment)
    if kind in PICTURES:
        return _picture(kind, file, treatment)
    if kind == Kind.MODEL3D:
        return _model(file)
    raise BadOutput(f"nothing opens what a {kind} is")


def _picture(kind: str, file: IO[bytes], treatment: Treatment) -> Proved:
    try:
        found = pictures.inspect(file, size=treatment.size)
    except Error as error:
        raise BadOutput(error.message) from error
    if found.content_type not in PICTURES[kind]:
        for made in (found.jpeg, found.whole):
            if made is not None:
                made.close()
        raise BadOutput(f"it is {found.content_type}")
    content_type = found.content_type if found.whole is None else "image/jpeg"
    kept: Any = found.whole or file
    length = kept.seek(0, 2)
    kept.seek(0)
    digest = hashlib.file_digest(kept, "sha256").hexdigest()
    return Proved(kept, found.jpeg, content_type, length, digest, found.width, found.height)


def _film(file: IO[bytes], treatment: Treatment) -> Proved:
    try:
        found = videos.inspect(file, duration_s=treatment.duration_s, mute=treatment.mute)
    except videos.Unplayable as error:
        raise BadOutput(str(error)) from error
    return Proved(
        file=found.file or file,
        thumbnail=found.poster,
        content_type=videos.CONTENT_TYPE,
        bytes=found.bytes,
        sha256=found.sha256,
        width=found.width,
        height=found.height,
        duration_s=found.duration_s,
    )


def _model(file: IO[bytes]) -> Proved:
    try:
        found = meshes.inspect(file)
    except meshes.Broken as error:
        raise BadOutput(str(error)) from error
    return Proved(file, found.preview, found.content_type, found.size, found.sha256)

"""Pictures made safe: decoded and re-encoded in a child process with bounded memory, time and no network use."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from django.conf import settings

from core import children
from core.errors import ImageUnreadable, TooLarge, TooManyPixels, UnsupportedMediaType

_PROGRAM = Path(__file__).with_name("decoder.py")
_MEMORY_BYTES = 1_500 << 20
_CPU_S = 30
_TIMEOUT_S = 60
PHOTO_SIDE = 2048
THUMBNAIL_SIDE = 512
AVATAR_SIDE = 512
VIEW_SIDE = 4899  # squared: 24 megapixels


@dataclass(frozen=True, slots=True)
class Picture:
    """What the decoder made of a file: `jpeg` is an anonymous temporary file, closed by whoever asked.

    `whole` is one too: the picture in the size asked for, as a JPEG, where the file does not have it.
    """

    jpeg: IO[bytes]
    whole: IO[bytes] | None
    bytes: int
    sha256: str
    width: int
    height: int
    content_type: str
    format: str
    original_width: int
    original_height: int
    original_bytes: int
    camera_make: str = ""
    camera_model: str = ""
    focal_length_mm: float | None = None

    @property
    def camera(self) -> str:
        """Equal for pictures through the same lens."""
        return camera_of(self)


def camera_of(picture: Any) -> str:
    """Equal for pictures, or rows about them, through the same lens: what depth needs to know of it is learnt once."""
    sides = sorted((picture.original_width, picture.original_height))
    found = (picture.camera_make, picture.camera_model, picture.focal_length_mm, sides, picture.width, picture.height)
    return repr(found)


def photo(file: IO[bytes]) -> Picture:
    """A customer's picture upright, in sRGB, within 2048², as JPEG 90 without metadata. `file` is one on disk.

    Raises: UnsupportedMediaType, TooLarge, TooManyPixels, ImageUnreadable.
    """
    _check_size(file, settings.PHOTO_MAX_BYTES)
    return _decode(file, mode="photo", max_side=PHOTO_SIDE)


def view(file: IO[bytes]) -> Picture:
    """One of the pictures that a 3D model is made from: like a photo, but TIFF too, and of up to 24 megapixels.

    Raises: as `photo`.
    """
    _check_size(file, settings.PHOTO_MAX_BYTES)
    return _decode(file, mode="view", max_side=VIEW_SIDE)


def avatar(file: IO[bytes]) -> Picture:
    """A person's picture like a photo, but cut square and within 512².

    Raises: as `photo`.
    """
    _check_size(file, settings.AVATAR_MAX_BYTES)
    return _decode(file, mode="square", max_side=AVATAR_SIDE)


def _check_size(file: IO[bytes], limit: int) -> None:
    size = file.seek(0, 2)
    if size > limit:
        raise TooLarge(f"The picture is larger than {limit // 1_000_000} MB.")
    if size == 0:
        raise UnsupportedMediaType("The file is empty.")


def inspect(file: IO[bytes], *, size: tuple[int, int] | None = None) -> Picture:
    """A provider's picture decoded to its last byte: `jpeg` is a thumbnail, width and height are the picture's.

    With a `size` the picture is cropped in the middle to its proportions and scaled down to it, never up.
    Raises: UnsupportedMediaType, TooManyPixels, ImageUnreadable.
    """
    return _decode(file, mode="output", max_side=THUMBNAIL_SIDE, size=size)


def _decode(file: IO[bytes], *, mode: str, max_side: int, size: tuple[int, int] | None = None) -> Picture:
    file.flush()
    file.seek(0)
    options = {
        "mode": mode,
        "size": size,
        "max_side": max_side,
        "max_pixels": settings.PHOTO_MAX_PIXELS,
        "memory_bytes": _MEMORY_BYTES,
        "cpu_s": _CPU_S,
    }
    made: Any = tempfile.TemporaryFile()  # noqa: SIM115  handed to the caller
    try:
        report = _run(options, file, made)
        whole: IO[bytes] | None = None
        if whole_bytes := report.pop("whole_bytes", 0):
            whole, made = made, _cut_off(made, whole_bytes)
        length = made.seek(0, 2)
        if not length:
            raise ImageUnreadable
        made.seek(0)
        digest = hashlib.file_digest(made, "sha256").hexdigest()
        made.seek(0)
        return Picture(jpeg=made, whole=whole, bytes=length, sha256=digest, original_bytes=file.seek(0, 2), **report)
    except BaseException:
        made.close()
        raise


def _cut_off(file: IO[bytes], at: int) -> IO[bytes]:
    """Leave the file its first so many bytes. Returns the rest."""
    rest = tempfile.TemporaryFile()  # noqa: SIM115  handed to the caller
    file.seek(at)
    shutil.copyfileobj(file, rest)
    file.truncate(at)
    return rest


def _run(options: dict[str, Any], source: IO[bytes], target: IO[bytes]) -> dict[str, Any]:
    """The decoder's report.

    Raises: as `_decode`.
    """
    report = children.run(_PROGRAM, options, source=source, target=target, timeout_s=_TIMEOUT_S)
    match report.get("error"):
        case "not_an_image":
            also = ", TIFF" if options["mode"] == "view" else ""
            raise UnsupportedMediaType(f"The file is not a JPEG, PNG, GIF{also} or WebP picture.")
        case "too_many_pixels":
            raise TooManyPixels(f"The picture has more than {settings.PHOTO_MAX_PIXELS // 1_000_000} megapixels.")
        case "unreadable" | children.TIMED_OUT:
            raise ImageUnreadable
    if not report:
        raise ImageUnreadable
    return report

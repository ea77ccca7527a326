"""Films proved to play: every frame decoded, in a child process with bounded memory, time and no network use."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from core import children

_PROGRAM = Path(__file__).with_name("player.py")
_MEMORY_BYTES = 1_500 << 20
_CPU_S = 100  # of both cores
_TIMEOUT_S = 60
_MAX_PIXELS = 3840 * 2160
_MAX_DURATION_S = 120
_MAX_FRAMES = _MAX_DURATION_S * 60
_MAX_BYTES = 500_000_000
_POSTER_SIDE = 512

CONTENT_TYPE = "video/mp4"

_REASONS = {
    "not_a_film": "The file is not an MP4 film.",
    "codec": "The film's codecs are not ones we take.",
    "too_many_pixels": "The film has too many pixels.",
    "too_long": "The film is too long.",
    "unreadable": "The film is damaged or cut off.",
}


class Unplayable(Exception):
    """The file is not a film that plays from its first to its last frame."""


class TookTooLong(Exception):
    """The film could not be played in time, which may be for want of a processor: another try may succeed."""


@dataclass(frozen=True, slots=True)
class Film:
    """What playing a film showed. `poster` (a JPEG) and `file` are on disk, the latter only if it was cut or silenced:
    both are closed by whoever asked."""

    poster: IO[bytes]
    file: IO[bytes] | None
    bytes: int
    sha256: str
    width: int
    height: int
    duration_s: float
    frames: int
    has_sound: bool


def inspect(file: IO[bytes], *, duration_s: float | None = None, mute: bool = False) -> Film:
    """Play a film to its last frame; cut it to `duration_s` and take its sound away where asked.

    MP4 with H.264, H.265, VP9 or AV1, and AAC, MP3, Opus or no sound. `file` is one on disk.
    Raises: Unplayable, TookTooLong.
    """
    file.flush()
    file.seek(0)
    poster, treated = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115  handed to the caller
    try:
        report = _run(file, poster, treated, duration_s=duration_s, mute=mute)
        kept: Any = treated if report.pop("is_treated") else file
        size = kept.seek(0, 2)
        kept.seek(0)
        digest = hashlib.file_digest(kept, "sha256").hexdigest()
        kept.seek(0)
        poster.seek(0)
        if kept is file:
            treated.close()
        return Film(poster=poster, file=None if kept is file else treated, bytes=size, sha256=digest, **report)
    except BaseException:
        poster.close()
        treated.close()
        raise


def _run(
    source: IO[bytes], poster: IO[bytes], treated: IO[bytes], *, duration_s: float | None, mute: bool
) -> dict[str, Any]:
    options = {
        "film": treated.fileno(),
        "duration_s": duration_s,
        "mute": mute,
        "max_pixels": _MAX_PIXELS,
        "max_duration_s": _MAX_DURATION_S,
        "max_frames": _MAX_FRAMES,
        "poster_side": _POSTER_SIDE,
        "memory_bytes": _MEMORY_BYTES,
        "cpu_s": _CPU_S,
        "file_bytes": _MAX_BYTES,
    }
    report = children.run(
        _PROGRAM, options, source=source, target=poster, timeout_s=_TIMEOUT_S, descriptors=(treated.fileno(),)
    )
    if report.get("error") == children.TIMED_OUT:
        raise TookTooLong(f"It was not played within {_TIMEOUT_S} s.")
    if not report or "error" in report:
        raise Unplayable(_REASONS[report.get("error", "unreadable")])
    return report

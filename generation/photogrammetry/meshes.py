"""Models proved: opened to the last triangle by a program of its own, which also draws a preview."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from core import children

_PROGRAM = Path(__file__).with_name("inspector.py")
_LIMITS = {"memory_bytes": 4 << 30, "cpu_s": 120}
_TIMEOUT_S = 90  # below the shortest lease


class Broken(Exception):
    """It is not a model of ours, or not a whole one."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a file is. `preview` is a JPEG in an anonymous file, closed by whoever asked; an archive has none."""

    content_type: str
    size: int
    sha256: str
    preview: IO[bytes] | None


def inspect(file: IO[bytes]) -> Found:
    """Open a GLB, OBJ or PLY model, or a zip, to its end. `file` is one on disk.

    Raises: Broken.
    """
    file.flush()
    size = file.seek(0, 2)
    digest = _digest(file)
    file.seek(0)
    preview = tempfile.TemporaryFile()  # noqa: SIM115  handed to the caller
    try:
        report = children.run(_PROGRAM, _LIMITS, source=file, target=preview, timeout_s=_TIMEOUT_S)
        if "content_type" not in report:
            raise Broken(str(report.get("error", "what opens it died")))
        is_drawn = preview.seek(0, 2)
        preview.seek(0)
        if not is_drawn:
            preview.close()
        return Found(report["content_type"], size, digest, preview if is_drawn else None)
    except BaseException:
        preview.close()
        raise


def _digest(file: Any) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()

"""Running the program that reconstructs: started, listened to, stopped; its results packed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings

from generation.photogrammetry.steps import CAMERAS, MODELS
from generation.providers.watch import Watch

log = structlog.get_logger("photogrammetry")

COMMAND: tuple[str, ...] = (sys.executable, "-m", "generation.photogrammetry.program")
# The mesher's threads would else wait for each other by counting: 43 s instead of 2 on a busy machine [measured].
ENVIRONMENT: dict[str, str] = {"PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1", "OMP_WAIT_POLICY": "PASSIVE"}
ARCHIVE = "photogrammetry_results.zip"
_LAST_WORDS = 300


class Stopped(Exception):
    """Nobody wants it any more."""


class Refused(Exception):
    """Nothing can come of these photos; the same again would end the same. `code` is a failure code of ours."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class Died(Exception):
    """It came to no end of its own: killed, out of memory, out of disk. Another run may do better."""


def run(folder: Path, watch: Watch, *, cpu_s: float) -> dict[str, Any]:
    """Reconstruct from `images/` in the folder, into `results/`; returns what the program says of them.

    Raises: Stopped, Refused, Died.
    """
    threads = settings.PHOTOGRAMMETRY_THREADS or os.cpu_count() or 1
    options = {
        "folder": str(folder),
        "parent": os.getpid(),
        "threads": threads,
        "memory_bytes": settings.PHOTOGRAMMETRY_MEMORY_BYTES,
        "cpu_s": int(cpu_s * threads),
    }
    with (folder / "stderr.log").open("w+b") as words:
        child = subprocess.Popen(
            [*COMMAND, json.dumps(options)],
            cwd=settings.BASE_DIR,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=words,
            env=ENVIRONMENT | {"HOME": str(folder), "TMPDIR": str(folder)},
            text=True,
        )
        watch.on_stop(child.kill)
        try:
            said = _listen(child, watch)
            returncode = child.wait()
        finally:
            watch.on_stop(None)
            child.kill()
            child.wait()
            if child.stdout:
                child.stdout.close()
        words.seek(max(0, words.seek(0, 2) - _LAST_WORDS))
        last_words = words.read().decode(errors="replace").strip()
    if watch.is_stopped:
        raise Stopped
    if said.get("error") in ("out_of_memory", "os_error"):
        raise Died(f"{said['error']}: {said.get('detail', '')}")
    if "error" in said:
        raise Refused(said["error"], said.get("detail", ""))
    if returncode or "faces" not in said:
        log.warning("reconstruction_died", returncode=returncode, said=last_words)
        raise Died(f"it ended with {returncode} in {watch.step or 'its beginning'}: {last_words[-120:]}")
    _pack(folder / "results")
    return said


def _listen(child: subprocess.Popen[str], watch: Watch) -> dict[str, Any]:
    """Pass the steps on; returns the last line that is none."""
    said: dict[str, Any] = {}
    for line in child.stdout or ():
        with suppress(ValueError):
            heard = json.loads(line)
            if "step" in heard:
                watch.step, watch.progress = heard["step"], heard["progress"]
            else:
                said = heard
    return said


def _pack(results: Path) -> None:
    try:
        with zipfile.ZipFile(results / ARCHIVE, "w", zipfile.ZIP_DEFLATED) as packed:
            for name in (*MODELS, CAMERAS):
                packed.write(results / name, name)
    except OSError as error:
        raise Died(f"packing: {error}") from error

"""Programs of ours that open hostile files, each run in a child process that knows nothing and may die."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import structlog

log = structlog.get_logger("children")

TIMED_OUT = "timed_out"

# A picture of the most pixels takes 0.8 GB [measured]; a pass of the engine may meet sixteen of them at once.
_AT_ONCE = threading.BoundedSemaphore(2)


def run(
    program: Path,
    options: Mapping[str, Any],
    *,
    source: IO[bytes],
    target: IO[bytes],
    timeout_s: float,
    descriptors: tuple[int, ...] = (),
) -> dict[str, Any]:
    """The program's report: the last line of its standard error, or nothing when it died. Out of time it is an error.

    `-I` and an empty environment: the child knows nothing of ours. Two at a time in a process.
    """
    try:
        with _AT_ONCE:
            child = subprocess.run(
                [sys.executable, "-I", str(program), json.dumps(options)],
                stdin=source.fileno(),
                stdout=target.fileno(),
                stderr=subprocess.PIPE,
                env={},
                timeout=timeout_s,
                pass_fds=descriptors,
                check=False,
            )
    except subprocess.TimeoutExpired:
        log.warning("child_timed_out", program=program.name, timeout_s=timeout_s)
        return {"error": TIMED_OUT}
    if child.returncode == 0:
        try:
            report = json.loads(child.stderr.splitlines()[-1])
        except (ValueError, IndexError):
            report = None
        if isinstance(report, dict):
            return report
    # Killed by its limits, or by the file: either way nothing came of it.
    log.warning("child_died", program=program.name, returncode=child.returncode)
    return {}

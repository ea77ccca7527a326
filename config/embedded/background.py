"""Having `manage.py up` run while something else is done: joining the one that runs, or starting one and ending it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from config.embedded import addresses, processes, supervisor

READY_S = 180
STOP_S = 120


@dataclass
class Background:
    """What runs, and whether it is ours to stop."""

    process: subprocess.Popen[bytes] | None

    @property
    def is_ours(self) -> bool:
        return self.process is not None


@contextmanager
def running(*names: str, keep: bool = False) -> Iterator[Background]:
    """Have the services (all, without names) run for the length of a `with`; what already runs stays.

    With `keep` what was started goes on afterwards, without a terminal.
    Raises: UpError when it does not start; the message is the other process's own.
    """
    folder: Path = settings.VAR_DIR
    if supervisor.is_running(folder):
        _await(lambda: supervisor.is_ready(folder), None, folder)
        yield Background(None)
        return
    process = _start(folder, names, keep=keep)
    try:
        _await(lambda: supervisor.is_ready(folder), process, folder)
        yield Background(process)
    except BaseException:
        _stop(process)
        raise
    if not keep:
        _stop(process)


def _start(folder: Path, names: tuple[str, ...], *, keep: bool) -> subprocess.Popen[bytes]:
    log = folder / "log" / "up.log"
    addresses.make_folder(log.parent, 0o700)
    log.unlink(missing_ok=True)
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "up", "--quiet", "--services", ",".join(names)]
    if not keep:
        return processes.spawn(command, cwd=settings.BASE_DIR, log=log)
    with open(log, "ab") as output:
        return subprocess.Popen(
            command,
            cwd=settings.BASE_DIR,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _await(condition: Callable[[], bool], process: subprocess.Popen[bytes] | None, folder: Path) -> None:
    if processes.wait_until(lambda: condition() or (process and process.poll() is not None), READY_S, step_s=0.05):
        if process is None or process.poll() is None:
            return
        said = (folder / "log" / "up.log").read_text(errors="replace").strip()
        raise supervisor.UpError(said.removeprefix("CommandError: ") or "manage.py up ended without a word.")
    raise supervisor.UpError(f"Not ready within {READY_S} s. Look into {folder / 'log'}.")


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.kill(process.pid, signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

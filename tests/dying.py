"""Work done by another process, which is killed at a kill point: a fork of this one, with its settings."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable
from threading import Thread

from django.conf import settings

DEADLINE_S = 150


def die_at(point: str, work: Callable[[], object]) -> None:
    """Have another process do the work; it has to die at the point."""
    assert exit_status(work, point) == -signal.SIGKILL, f"nobody died at {point}"


def exit_status(work: Callable[[], object], point: str = "") -> int | None:
    """How another process ends that does the work, armed for a kill point or for none."""
    return Dying(work, point).exit_status()


class Dying:
    """Another process at the work, armed for a kill point or for none."""

    def __init__(self, work: Callable[[], object], point: str) -> None:
        self._child = multiprocessing.get_context("fork").Process(target=_armed, args=(work, point))
        self._child.start()

    def is_alive(self) -> bool:
        return self._child.is_alive()

    def exit_status(self) -> int | None:
        """Wait for its end; how that was."""
        self._child.join(DEADLINE_S)
        self._child.kill()
        return self._child.exitcode


def _armed(work: Callable[[], object], point: str) -> None:
    settings.KILL_POINT = point
    failed = []

    def run() -> None:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            failed.append(True)

    # A thread of its own: connections to databases and servers are each thread's, and ours are our parent's.
    thread = Thread(target=run)
    thread.start()
    thread.join()
    sys.stderr.flush()
    os._exit(1 if failed else 0)

"""A process that imports the product once, and forks web, worker and beat from then on, in milliseconds.

What it forks are processes as any other: each with a session, a log and a death of its own. The commands themselves,
from nothing, are what `manage.py up` starts (tests/run).
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# What the commands import by and by, and the application that they run.
COMMANDS = (
    *("celery.bin.celery", "celery.apps.worker", "celery.apps.beat", "celery.concurrency.thread"),
    *("kombu.transport.redis", "granian.cli", "granian.server", "config.wsgi"),
)


class Forked:
    """A process that the nursery made: as much of Popen as a stack asks for."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self.nursery, self.pid = nursery, pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self.nursery.ask(poll=self.pid)
        return self.returncode

    def wait(self, timeout: float) -> int:
        deadline = time.monotonic() + timeout
        while (ended := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.02)  # between two looks
        return ended


class Nursery:
    """Our end of it. Whoever it made dies with it; always `close()` it."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.one_at_a_time = threading.Lock()
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            cwd=ROOT,
            env=environment | {"DJANGO_SETTINGS_MODULE": "config.settings"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def fork(self, argv: list[str], log: Path) -> Forked:
        """Start `python -m` these arguments with the nursery's environment, its output appended to `log`."""
        return Forked(self, self.ask(argv=argv, log=str(log)))

    def ask(self, **what: Any) -> Any:
        assert self.process.stdin
        assert self.process.stdout
        with self.one_at_a_time:
            print(json.dumps(what), file=self.process.stdin, flush=True)
            return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        self.process.communicate(timeout=120)


def serve() -> list[str] | None:
    """Fork whatever is asked for until nobody can ask any more. Returns a child's arguments, in that child."""
    children: set[int] = set()
    for line in sys.stdin:
        asked = json.loads(line)
        answer: int | None
        if "argv" in asked:
            answer = os.fork()
            if not answer:
                _leave_home(asked["log"])
                return list(asked["argv"])
            children.add(answer)
        else:
            pid, status = os.waitpid(asked["poll"], os.WNOHANG)
            children.discard(pid)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        print(json.dumps(answer), flush=True)  # noqa: T201  whoever asked reads it
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
    return None


def _leave_home(log: str) -> None:
    os.setsid()
    null, output = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for there, here in ((null, 0), (output, 1), (output, 2)):
        os.dup2(there, here)
    os.close(null)
    os.close(output)


def learn() -> None:
    """Import all that web, worker and beat would, and open nothing."""
    for name in COMMANDS:
        importlib.import_module(name)
    from django.urls import get_resolver

    from config.celery import app

    get_resolver()._populate()
    app.loader.import_default_modules()
    app.finalize()
    gc.freeze()  # nobody's collector has to look through all that again


if __name__ == "__main__":
    learn()
    arguments = serve()
    if arguments is None:
        os._exit(0)  # tidying up takes a second
    sys.argv = arguments
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)

"""A server under measurement: one process on a port of its own, asked over HTTP, its CPU time counted."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import requests

from bench.servers import ROOT, VAR
from config.embedded import processes

READY_S = 60


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@dataclass(frozen=True)
class Contender:
    """A running server."""

    name: str
    port: int | None
    process: psutil.Process
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cpu_s(self) -> float:
        """CPU time that the process and its children have used, with those that have ended."""
        total = 0.0
        for process in (self.process, *self.process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def rss_mb(self, of: str = "") -> float:
        """Resident memory of the process and its children, what they share counted for each; or of those so named."""
        total = 0
        for process in (self.process, *self.process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                if of in process.name() or any(of in word for word in process.cmdline()):
                    total += process.memory_info().rss
        return total / 1e6

    def logged(self, text: str) -> str | None:
        """The line of its log that has the text in it."""
        with self.log.open(errors="replace") as lines:
            return next((line for line in lines if text in line), None)


@contextmanager
def running(
    name: str,
    command: Sequence[str | Path],
    environment: Mapping[str, str],
    *,
    port: int | None,
    health: str | None = None,
) -> Iterator[Contender]:
    """Start a server, wait until it takes connections (or answers `health`), and stop it at the end.

    One without a port, a worker, is ready as soon as it runs.
    """
    logs = VAR / "log"
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"{name}.log"
    log.unlink(missing_ok=True)
    inherited = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    process = processes.spawn(command, cwd=ROOT, env={**inherited, **environment}, log=log)
    contender = Contender(name, port, psutil.Process(process.pid), log)

    def answers() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"{name} ended:\n{log.read_text(errors='replace')[-3000:]}")
        if port is None:
            return True
        try:
            if health is None:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return True
            return requests.get(contender.url + health, timeout=5).ok
        except OSError:
            return False

    try:
        if not processes.wait_until(answers, READY_S):
            raise RuntimeError(f"{name} does not answer:\n{log.read_text(errors='replace')[-3000:]}")
        yield contender
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    processes.stop(process, signal.SIGTERM, 15)

"""Atelier as operators run it: web, worker, beat and sandbox as processes of their own, on free ports.

Ours come from a nursery, which has imported what they run: starting one anew costs next to nothing.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import requests

from config.embedded import addresses
from tests.ports import free_ports
from tests.scenarios.nursery import Forked, Nursery

ROOT = Path(__file__).resolve().parents[2]
T = TypeVar("T")

# Wake-ups quick enough for a test; due times still decide.
WAKES = "generation.advance=0.5,generation.sweep=1,inbox.handle=0.5,notifications.deliver=0.5,billing.poll_payments=0.5"


def until(condition: Callable[[], T], what: str, *, within_s: float = 150) -> T:
    """Wait for the condition to answer something true.

    Raises: AssertionError after the deadline.
    """
    deadline, pause_s = time.monotonic() + within_s, 0.05
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {within_s} s")
        time.sleep(pause_s)  # between two looks at a condition, ever more slowly: each costs the product a request
        pause_s = min(pause_s * 1.3, 0.3)


class Stack:
    """The running product. Always `stop()` it."""

    def __init__(self, folder: Path, *, database_url: str, redis_url: str, **environment: str) -> None:
        self.folder = folder
        self.port, self.sandbox_port, self.smtp_port = free_ports(3)
        self.url = f"http://127.0.0.1:{self.port}"
        self.api = f"{self.url}/api/v1"
        self.sandbox = f"http://127.0.0.1:{self.sandbox_port}"
        self.kill_file = folder / "kill"
        self.processes: dict[str, subprocess.Popen[bytes] | Forked] = {}
        self.nurseries: dict[frozenset[tuple[str, str]], Nursery] = {}  # by the settings they add
        self.own: dict[str, dict[str, str]] = {}  # settings of one process alone
        self.environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG", "PG_BIN") if name in os.environ},
            "ENVIRONMENT": "test",
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "PORT": str(self.port),
            "SANDBOX_PORT": str(self.sandbox_port),
            "SANDBOX_SMTP_PORT": str(self.smtp_port),
            "SANDBOX_DIR": str(folder / "sandbox"),
            "SANDBOX_SPEED_S": "0.2",
            "SANDBOX_SLOW_S": "3",
            "PUBLIC_URL": self.url,
            "MEDIA_ROOT": str(folder / "media"),
            "WEB_THREADS": "4",
            "WAKE_EVERY_S": WAKES,
            "RATE_LIMITS": "general=100000/60/ip,auth=1000/60/ip,registrations=1000/60/ip,generation=1000/60/user,"
            "purchases=1000/60/user,uploads=1000/60/user",
            "KILL_POINT": f"@{self.kill_file}",
            **{name: make() for name, make in addresses.SECRETS.items()},
            **environment,
        }
        self.commands: dict[str, list[str]] = {  # after `python -m`
            "sandbox": ["sandbox"],
            "web": self._web(self.port),
            "worker": [
                *("celery", "-A", "config", "worker", "--pool", "threads", "--concurrency", "6"),
                *("-Q", "default,providers,providers_sync,bulk,mail,webhooks", "--loglevel", "warning"),
                *("--without-gossip", "--without-mingle", "--without-heartbeat"),
            ],
            "beat": ["celery", "-A", "config", "beat", "--loglevel", "warning", "--pidfile", ""],
        }
        self.ready = {"sandbox": f"{self.sandbox}/health", "web": f"{self.url}/health/live"}

    def _web(self, port: int) -> list[str]:
        return [
            *("granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port)),
            *("--workers", "1", "--blocking-threads", "4", "--log-level", "warning", "config.wsgi:application"),
        ]

    def add_web(self, name: str) -> str:
        """Let there be another web machine, to be started by this name. Returns its URL."""
        (port,) = free_ports(1)
        self.commands[name] = self._web(port)
        self.ready[name] = f"http://127.0.0.1:{port}/health/live"
        return f"http://127.0.0.1:{port}"

    def start(self, *names: str) -> None:
        """Start the processes that are not running, and wait for those that can say that they are ready."""
        for name in names or tuple(self.commands):
            running = self.processes.get(name)
            if running is not None and running.poll() is None:
                continue
            self.processes[name] = self._start(name)
        for name, url in self.ready.items():
            if name in (names or self.commands):
                until(lambda name=name, url=url: self._answers(name, url), f"{name} answers")

    def _start(self, name: str) -> subprocess.Popen[bytes] | Forked:
        log, own = self.folder / f"{name}.log", self.own.get(name, {})
        if name == "sandbox":  # the outside world shares nothing with us
            with open(log, "ab") as output:
                return subprocess.Popen(
                    [sys.executable, "-m", *self.commands[name]],
                    cwd=ROOT,
                    env=self.environment | own,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        return self._nursery(own).fork(self.commands[name], log)

    def _nursery(self, own: dict[str, str]) -> Nursery:
        there = frozenset(own.items())
        if there not in self.nurseries:
            self.nurseries[there] = Nursery(self.environment | own)
        return self.nurseries[there]

    def run(self, *command: str) -> str:
        """Run `python -m` this to its end, which has to be good; what it prints."""
        log = self.folder / "command.log"
        log.unlink(missing_ok=True)
        ended = self._nursery({}).fork(list(command), log).wait(120)
        assert ended == 0, f"{command}: {log.read_text()}"
        return log.read_text()

    def _answers(self, name: str, url: str) -> bool:
        died = self.processes[name].poll()
        if died is not None and died != -signal.SIGKILL:
            raise AssertionError(f"{name} ended with {died}: {self.log(name)[-3000:]}")
        try:
            return requests.get(url, timeout=60).ok
        except requests.RequestException:
            return False

    def log(self, name: str) -> str:
        """What the process has printed."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def kill(self, name: str) -> None:
        """SIGKILL the process and all it started."""
        process = self.processes[name]
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        process.wait(60)

    def arm(self, point: str) -> None:
        """Whichever process reaches the kill point next dies there, once."""
        self.kill_file.write_text(point)

    def hear_all(self) -> None:
        """Wait until every webhook that the outside world has to send has come in."""
        pending = f"{self.sandbox}/control/deliveries?state=pending"
        until(lambda: requests.get(pending, timeout=60).json() == [], "every webhook has come in")

    def was_killed(self) -> bool:
        """Whether a process has died at the armed point."""
        return not self.kill_file.exists()

    def revive(self) -> list[str]:
        """Start again what has died. Returns which."""
        dead = [name for name, process in self.processes.items() if process.poll() is not None]
        for name in dead:
            self.kill(name)
        if dead:
            self.start(*dead)
        return dead

    def stop(self) -> None:
        """End every process, and make sure that each is gone."""
        for process in self.processes.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + 8
        for name, process in self.processes.items():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.kill(name)
        for nursery in self.nurseries.values():
            nursery.close()

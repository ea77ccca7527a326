"""Keeping the services of one checkout running: one supervisor at a time, children that die with it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from config.embedded import addresses, processes
from config.embedded.console import Console
from config.embedded.services import Port, Service

READY_S = 90
STEADY_S = 30  # alive so long, a child is sound again and its next restart is immediate
PAUSES_S = (0.2, 1, 2, 5, 10, 30)
MAX_LOG_BYTES = 20 << 20


class UpError(RuntimeError):
    """It cannot start or go on; the message says why and what to do."""


class AlreadyRunning(UpError):
    """Another supervisor serves this checkout."""


class Stopped(BaseException):
    """A signal asked us to stop."""


@dataclass
class Child:
    service: Service
    process: subprocess.Popen[bytes]
    started_at: float
    deaths: int = 0
    restart_at: float | None = None


@dataclass
class Supervisor:
    """Starts services in order, restarts what dies, stops all in the reverse order."""

    folder: Path
    console: Console
    about: dict[str, Any] = field(default_factory=dict)
    children: dict[str, Child] = field(default_factory=dict)
    is_ready: bool = False
    signals: int = 0
    _may_interrupt: bool = False

    # --- One at a time ---

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the checkout's lock, answer signals, and leave nothing behind.

        Raises: AlreadyRunning.
        """
        addresses.make_folder(self.folder)
        descriptor = os.open(self.folder / "up.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            # tried for a moment: `is_running` holds it for an instant
            if not processes.wait_until(lambda: _locks(descriptor), 0.3):
                raise AlreadyRunning(describe(self.folder))
            former = {number: signal.signal(number, self._signalled) for number in STOP_SIGNALS}
            try:
                self._end_leftovers()
                self._record()
                yield
            finally:
                self.stop_all()
                state_file(self.folder).unlink(missing_ok=True)
                for number, handler in former.items():
                    signal.signal(number, handler)
        finally:
            os.close(descriptor)

    def _signalled(self, number: int, _frame: object) -> None:
        self.signals += 1
        if self._may_interrupt:
            raise Stopped

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """For work of ours between starts, which looks at no flag: a signal breaks it off."""
        self._heed()
        self._may_interrupt = True
        try:
            yield
        finally:
            self._may_interrupt = False

    def _heed(self) -> None:
        if self.signals:
            raise Stopped

    # --- Starting ---

    def require_free(self, ports: Sequence[Port], services: Sequence[Service]) -> None:
        """Refuse ports that something else listens on. Raises: UpError that names the setting."""
        names = {service.name for service in services}
        for port in ports:
            if port.service in names and is_taken(port.number):
                raise UpError(
                    f"Port {port.number} is taken by another program; it is wanted for the {port.service} "
                    f"({port.setting}). Choose another: {port.setting}={port.number + 100} make run"
                )

    def start(self, services: Sequence[Service]) -> None:
        """Start services stage by stage, each stage once the one before it answers.

        Raises: UpError when one does not come up; Stopped.
        """
        for stage in sorted({service.stage for service in services}):
            chosen = [service for service in services if service.stage == stage]
            for service in chosen:
                self._heed()
                self._launch(service)
            for service in chosen:
                self._wait_ready(service)

    def _launch(self, service: Service, deaths: int = 0) -> None:
        addresses.make_folder(service.log.parent, 0o700)
        _rotate(service.log)
        self.console.follow(service)
        self.children[service.name] = Child(service, service.start(), time.monotonic(), deaths)
        self._record()

    def _wait_ready(self, service: Service) -> None:
        deadline = time.monotonic() + READY_S
        child = self.children[service.name]
        while not service.answers():
            self._heed()
            self.console.show_new()
            if (code := child.process.poll()) is not None or time.monotonic() > deadline:
                reason = f"ended ({_how(code)})" if code is not None else f"did not answer within {READY_S} s"
                raise UpError(f"The {service.name} {reason}. Its log, {service.log}, ends:\n{_tail(service.log)}")
            time.sleep(0.05)

    # --- Running ---

    def ready(self) -> None:
        """Let others know that everything answers."""
        self.is_ready = True
        self._record()

    def watch(self, changed: Callable[[], bool] | None = None) -> None:
        """Restart what dies, until a signal. Raises: Stopped."""
        while True:
            self._heed()
            for child in list(self.children.values()):
                self._look_after(child)
            if changed and changed():
                self._reload()
            self.console.show_new()
            time.sleep(0.1)

    def _look_after(self, child: Child) -> None:
        name, now = child.service.name, time.monotonic()
        if child.restart_at is not None:
            if now >= child.restart_at:
                self._launch(child.service, child.deaths)
            return
        if (code := child.process.poll()) is None:
            _rotate(child.service.log)
            return
        processes.sweep(child.process.pid)
        child.deaths = 1 if now - child.started_at > STEADY_S else child.deaths + 1
        pause_s = PAUSES_S[min(child.deaths, len(PAUSES_S)) - 1]
        child.restart_at = now + pause_s
        self.console.say(f"The {name} ended ({_how(code)}); restarting it in {pause_s:g} s. Log: {child.service.log}")

    def _reload(self) -> None:
        self.console.say("Code changed: restarting.")
        chosen = [child.service for child in self.children.values() if child.service.is_reloaded]
        self._stop(chosen)
        for service in sorted(chosen, key=lambda service: service.stage):
            self._launch(service)

    # --- Stopping ---

    def stop_all(self) -> None:
        """Stop every child, the latest stage first. A second signal kills at once."""
        self.is_ready = False
        for stage in sorted({child.service.stage for child in self.children.values()}, reverse=True):
            self._stop([child.service for child in self.children.values() if child.service.stage == stage])
        self.console.show_new()

    def _stop(self, services: Sequence[Service]) -> None:
        signals = self.signals
        stopping = [self.children[service.name] for service in services]
        for child in stopping:
            if child.process.poll() is None:
                child.process.send_signal(child.service.stop_signal)
        for child in stopping:
            deadline = time.monotonic() + child.service.stop_timeout_s
            while child.process.poll() is None and time.monotonic() < deadline and self.signals <= signals + 1:
                self.console.show_new()
                time.sleep(0.02)
            processes.sweep(child.process.pid)
            child.process.wait()
            del self.children[child.service.name]
            self._record()

    # --- What others see of us, and what the next one finds ---

    def _record(self) -> None:
        mine = processes.seen(os.getpid())
        children = [
            {"name": name, "signal": int(child.service.stop_signal), **asdict(there)}
            for name, child in self.children.items()
            if (there := processes.seen(child.process.pid))
        ]
        state = self.about | (asdict(mine) if mine else {}) | {"is_ready": self.is_ready, "children": children}
        addresses.write_private(state_file(self.folder), json.dumps(state, indent=1))

    def _end_leftovers(self) -> None:
        """End children that outlived a supervisor which was killed."""
        for record in state(self.folder).get("children", []):
            there = processes.Seen(record["pid"], record["started"])
            if processes.end_leftover(there, signal.Signals(record["signal"]), timeout_s=20):
                self.console.say(f"Ended a {record['name']} that a killed run had left behind.")


STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def state_file(folder: Path) -> Path:
    return folder / "up.json"


def state(folder: Path) -> dict[str, Any]:
    """What the supervisor of this checkout last wrote about itself; empty where there is nothing to read."""
    try:
        found = json.loads(state_file(folder).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def is_ready(folder: Path) -> bool:
    """Whether the supervisor that wrote the state lives, and said that everything answers."""
    found = state(folder)
    there = processes.seen(int(found.get("pid", 0)))
    return bool(found.get("is_ready")) and there is not None and there.started == found.get("started")


def is_running(folder: Path) -> bool:
    """Whether a supervisor holds the checkout's lock."""
    try:
        descriptor = os.open(folder / "up.lock", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not _locks(descriptor)
    finally:
        os.close(descriptor)


def _locks(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def describe(folder: Path) -> str:
    """One line about who runs and where."""
    found = state(folder)
    where = f": {found['url']}" if found.get("url") else "."
    return f"Atelier runs already from this checkout (process {found.get('pid', '?')}){where}\nStop it with: make stop"


def is_taken(port: int) -> bool:
    with socket.socket() as caller:  # macOS lets one bind beside a narrower listener, so ask who answers too
        caller.settimeout(1)
        if caller.connect_ex(("127.0.0.1", port)) == 0:
            return True
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("", port))
        except OSError:
            return True
    return False


def _how(code: int | None) -> str:
    if code is None:
        return "?"
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


def _tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _rotate(log: Path) -> None:
    """Keep a log from growing without end. Its writers append, so they go on at the new end."""
    if log.exists() and log.stat().st_size > MAX_LOG_BYTES:
        shutil.copyfile(log, log.with_suffix(".log.1"))
        os.truncate(log, 0)

"""Child processes that do not outlive us, and finding again those that did."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config.embedded.privileges import Unprivileged

LINUX = platform.system() == "Linux"
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Seen:
    """A process as it can be recognised later: numbers are used again, start times with them are not."""

    pid: int
    started: str


def spawn(
    argv: Sequence[str | Path],
    *,
    log: Path,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    death_signal: signal.Signals = signal.SIGTERM,
    unprivileged: Unprivileged | None = None,
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own, its output appended to `log`.

    On Linux it gets `death_signal` when the thread that called this ends, however that ends; call it from a thread
    that lives as long as the child shall. Elsewhere the next start finds it by its record (`seen`).
    """
    parent = os.getpid()
    libc = ctypes.CDLL(None, use_errno=True) if LINUX else None

    def prepare() -> None:
        if unprivileged:
            unprivileged.enter()
        if libc:
            libc.prctl(PR_SET_PDEATHSIG, int(death_signal))
            if os.getppid() != parent:  # it died before the request took hold
                os._exit(1)

    with open(log, "ab", opener=lambda path, flags: os.open(path, flags, 0o600)) as output:
        return subprocess.Popen(
            [str(part) for part in argv],
            cwd=cwd,
            env=dict(env) if env is not None else None,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=prepare,
        )


def seen(pid: int) -> Seen | None:
    """The process as it is now, or None where there is none (one that only waits to be reaped is none)."""
    if LINUX:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return None
        return None if fields[0] in "ZX" else Seen(pid, f"{boot}/{fields[19]}")
    answer = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True)
    state, _, started = answer.stdout.strip().partition(" ")
    return Seen(pid, started.strip()) if started and "Z" not in state else None


def wait_until(condition: Callable[[], Any], timeout_s: float, step_s: float = 0.02) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(step_s)
    return True


def stop(process: subprocess.Popen[bytes], first: signal.Signals, timeout_s: float) -> None:
    """Ask a child to stop; kill its whole session when it does not, or leaves somebody behind."""
    if process.poll() is None:
        process.send_signal(first)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout_s)
    sweep(process.pid)
    process.wait()


def sweep(group: int) -> None:
    """Kill what is left of a process group that a child of ours led."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
    wait_until(lambda: not group_lives(group), 5)


def group_lives(group: int) -> bool:
    """Whether anybody is in the process group, the merely unreaped included."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def end_leftover(record: Seen, first: signal.Signals, timeout_s: float = 10) -> bool:
    """End a child of a former run, by its record; whether there was one.

    A leader that died leaves a group without one, whose number stays taken while the group lives.
    """
    leader = seen(record.pid)
    if leader == record:
        os.kill(record.pid, first)
        if not wait_until(lambda: seen(record.pid) != record, timeout_s):
            os.kill(record.pid, signal.SIGKILL)
        sweep(record.pid)
        return True
    same_boot = (now := seen(os.getpid())) is not None and now.started.split("/")[0] == record.started.split("/")[0]
    if leader is None and same_boot and group_lives(record.pid):
        sweep(record.pid)
        return True
    return False

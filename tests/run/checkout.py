"""A checkout of its own, and `manage.py up` in it, as somebody would have who just cloned the project."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import requests

from config.embedded import addresses, postgres, processes, supervisor
from tests import embedded
from tests.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = shutil.ignore_patterns(".*", "*.pyc.*", "var", "docs", "bench", "node_modules")
READY_S = 180


class Checkout:
    """A copy of the tree with free ports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT, folder, ignore=LEFT_OUT)
        self.port, self.sandbox_port, self.smtp_port = free_ports(3)
        self.environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG", "PG_BIN") if name in os.environ},
            "PORT": str(self.port),
            "SANDBOX_PORT": str(self.sandbox_port),
            "SANDBOX_SMTP_PORT": str(self.smtp_port),
            "SANDBOX_SPEED_S": "0.2",
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    def furnish(self) -> None:
        """Have a migrated database, as after a first `up`."""
        uid = addresses.server_uid(self.folder)
        sockets = addresses.sockets_dir(self.folder)
        embedded.copy_migrated(postgres.Postgres(self.var / "postgres", sockets, self.folder / "log", uid))

    @property
    def var(self) -> Path:
        return self.folder / "var"

    def up(self, services: str = "") -> subprocess.Popen[bytes]:
        """Start `manage.py up` and wait until it says that it is ready."""
        process = self.begin("up", "--services", services)
        until(lambda: process.poll() is not None or supervisor.is_ready(self.var), "up is ready", READY_S)
        assert process.poll() is None, self.output()
        return process

    def begin(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a command of manage.py in a session of its own."""
        with open(self.folder / "output", "wb") as output:
            process = subprocess.Popen(
                [sys.executable, "manage.py", *command],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def run(self, *command: str, within_s: float = 300, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command of manage.py to its end."""
        return subprocess.run(
            [sys.executable, "manage.py", *command],
            cwd=self.folder,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=within_s,
        )

    def output(self) -> str:
        """What the command begun last has printed."""
        return (self.folder / "output").read_text(errors="replace")

    def state(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.var / "up.json").read_text())
        except (OSError, ValueError):
            return {}
        return found

    def pid_of(self, service: str) -> int | None:
        """The child as last recorded."""
        return next((int(child["pid"]) for child in self.state().get("children", []) if child["name"] == service), None)

    def answers(self, path: str = "health/ready") -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{self.port}/{path}", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def running(self) -> list[str]:
        """The processes that belong to this checkout: by where they work, by what they were started with."""
        found = []
        for process in psutil.process_iter(["pid", "cmdline", "cwd", "status"]):
            what = process.info
            if what["status"] == psutil.STATUS_ZOMBIE or what["pid"] == os.getpid():
                continue
            mine = str(self.folder)
            if mine in " ".join(what["cmdline"] or ()) or (what["cwd"] or "").startswith(mine):
                found.append(f"{what['pid']} {' '.join(what['cmdline'] or ())[:100]}")
        return found

    def end(self) -> None:
        """Stop whatever a failed test left."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        processes.wait_until(lambda: not self.running(), 60, step_s=0.1)


def until(condition: Callable[[], object], what: str, within_s: float = 120) -> None:
    assert processes.wait_until(condition, within_s, step_s=0.05), f"{what}: not within {within_s} s"

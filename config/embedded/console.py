"""What the terminal of `manage.py up` shows: our own lines, and the services' logs with their names in front."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from config.embedded.services import Service

COLOURS = {"web": 36, "worker": 32, "worker-sync": 32, "worker-bulk": 32, "beat": 35, "sandbox": 33}


class Terminal(Protocol):
    def write(self, text: str, /) -> object: ...
    def flush(self) -> object: ...
    def isatty(self) -> bool: ...


@dataclass
class Console:
    """Follows the log files, so that a service never waits for a terminal."""

    out: Terminal = field(default_factory=lambda: sys.stdout)
    is_quiet: bool = False
    _read_to: dict[str, int] = field(default_factory=dict)
    _logs: dict[str, Path] = field(default_factory=dict)

    def say(self, text: str) -> None:
        """Print a line of our own."""
        self.out.write(f"{text}\n")
        self.out.flush()

    def follow(self, service: Service) -> None:
        """Show the service's log from its present end on."""
        if service.is_loud and not self.is_quiet:
            self._logs[service.name] = service.log
            self._read_to[service.name] = service.log.stat().st_size if service.log.exists() else 0

    def show_new(self) -> None:
        """Print what the followed logs have gained, whole lines only."""
        for name, log in self._logs.items():
            try:
                with open(log, "rb") as file:
                    if os.fstat(file.fileno()).st_size < self._read_to[name]:
                        self._read_to[name] = 0  # begun anew
                    file.seek(self._read_to[name])
                    gained = file.read(1 << 20)
            except FileNotFoundError:
                continue
            whole = gained.rpartition(b"\n")[0]
            if not whole:
                continue
            self._read_to[name] += len(whole) + 1
            label = f"{name:<8}|"
            if self.out.isatty():
                label = f"\x1b[{COLOURS.get(name, 37)}m{label}\x1b[0m"
            for line in whole.decode(errors="replace").splitlines():
                self.out.write(f"{label} {line}\n")
            self.out.flush()

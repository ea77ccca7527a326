"""Processes that do one thing as fast as they can when told to: one a core, the clients are threads in them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import peers
from bench.servers import ROOT

CORES = os.cpu_count() or 1
HORDAK_PINS = Path(__file__).parent / "requirements-hordak.txt"


@dataclass(frozen=True)
class Crew:
    """Running processes of one contender."""

    name: str
    processes: list[subprocess.Popen[str]]

    def rate(self, act: str, clients: int, *, seconds: float) -> float:
        """How often a second an act was done by so many clients at once."""
        chosen = self.processes[:clients]
        for position, process in enumerate(chosen):
            threads = len(range(position, clients, len(chosen)))
            self._tell(process, act=act, threads=threads, seconds=seconds)
        answers = [self._hear(process) for process in chosen]
        return float(sum(answer["done"] / answer["took_s"] for answer in answers))

    def check(self) -> None:
        """Let the contender look at what it did. Raises: RuntimeError when that is wrong."""
        self._tell(self.processes[0], check=True)
        self._hear(self.processes[0])

    def _tell(self, process: subprocess.Popen[str], **order: Any) -> None:
        assert process.stdin is not None
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()

    def _hear(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{self.name}: {answer['error']}")
        return answer


def ours(name: str, environment: Mapping[str, str]) -> Any:
    """Processes that spend by `bench.spenders.<name>` inside Atelier."""
    return _running(name, [sys.executable, "-m", "bench.spenders", name], environment)


@contextmanager
def hordak(environment: Mapping[str, str]) -> Iterator[Crew]:
    """Processes that spend by django-hordak, in an environment of its own."""
    python, script = peers.python(HORDAK_PINS), peers.HERE / "hordak_ledger.py"
    inherited = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    subprocess.run([python, script, "prepare"], env=inherited | environment, check=True)
    with _running("hordak", [str(python), str(script)], environment) as crew:
        yield crew


@contextmanager
def _running(name: str, command: list[str], environment: Mapping[str, str]) -> Iterator[Crew]:
    inherited = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    processes = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=inherited | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(CORES)
    ]
    try:
        crew = Crew(name, processes)
        for process in processes:
            crew._hear(process)  # ready
        yield crew
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(timeout=30)

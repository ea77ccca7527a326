"""What `make test` runs, two at a time: each step prints one line, the tests their own; it fails if any fails.

`python -m tests.steps lint types` runs only those.
"""

from __future__ import annotations

import difflib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Half as many again as cores: whole stories mostly wait for the processes that they drive.
WORKERS = min(16, (os.cpu_count() or 2) * 3 // 2)
TESTS = ["-m", "pytest", "-n", str(WORKERS), "--dist", "loadfile", "--no-loadscope-reorder", "-m", "not deep"]
PIP_AUDIT = "2.10.1"
LAYERS = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def python(*arguments: str) -> Callable[[], str | None]:
    """A step that passes when this command of our Python does; what it printed is shown when it does not."""

    def step() -> str | None:
        done = subprocess.run(
            [sys.executable, *arguments], cwd=ROOT, env=_environment(), capture_output=True, text=True
        )
        return None if done.returncode == 0 else f"{done.stdout}{done.stderr}"

    return step


def openapi() -> str | None:
    """docs/openapi.yaml is what the code says."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / "openapi.yaml"
        command = ["manage.py", "spectacular", "--api-version", "v1", "--validate", "--fail-on-warn", "--file"]
        if said := python(*command, str(fresh))():
            return said
        committed = ROOT / "docs" / "openapi.yaml"
        before = committed.read_text().splitlines() if committed.exists() else []
        drift = list(
            difflib.unified_diff(before, fresh.read_text().splitlines(), "docs/openapi.yaml", "code", "", "", 1)
        )
    return "\n".join([*drift[:60], "If that is meant: make openapi"]) if drift else None


class Skipped(str):
    """Why a step could not be taken here; nothing is said to hold."""


def audit() -> str | None:
    """No dependency has a vulnerability that is known; asks the package index, and is skipped where there is none."""
    command = ["-m", "uv", "tool", "run", "--quiet", f"pip-audit=={PIP_AUDIT}"]
    options = ["--requirement", "requirements-dev.txt", "--no-deps", "--disable-pip", "--progress-spinner", "off"]
    done = subprocess.run([sys.executable, *command, *options], cwd=ROOT, capture_output=True, text=True)
    if done.returncode == 0:
        return None
    if "known vulnerabilit" in done.stderr:
        return f"{done.stderr}{done.stdout}"
    lines = done.stderr.strip().splitlines()
    return Skipped(f"skipped: the package index did not answer ({lines[-1][:200] if lines else 'no word'})")


def tests() -> str | None:
    """The tests, in parallel, speaking for themselves."""
    status = subprocess.run([sys.executable, *TESTS], cwd=ROOT, env=_environment()).returncode
    return None if status == 0 else f"pytest ended with {status}."


STEPS: dict[str, tuple[str, Callable[[], str | None]]] = {
    "format": ("the code is formatted", python("-m", "ruff", "format", "--check", ".")),
    "lint": ("ruff finds nothing", python("-m", "ruff", "check", ".")),
    "layers": ("imports go downwards only", python("-c", LAYERS)),
    "types": ("mypy finds nothing", python("-m", "mypy")),
    "migrations": (
        "the migrations are complete",
        python("-W", "ignore::RuntimeWarning", "manage.py", "makemigrations", "--check", "--dry-run"),
    ),
    "openapi": ("docs/openapi.yaml is up to date", openapi),
    "secrets": ("no key is committed", python("-m", "tests.leaks")),
    "audit": ("no dependency is known to be vulnerable", audit),
    "tests": ("the tests pass", tests),
}
WITH_NETWORK = {"audit"}  # only when named: what is known changes from day to day, what is tested must not


def _environment() -> dict[str, str]:
    """Ours, and bytecode is kept whatever the shell says: else every process compiles what it imports anew."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "ENVIRONMENT": "test"}


def _timed(step: Callable[[], str | None]) -> tuple[str | None, float]:
    began = time.monotonic()
    return step(), time.monotonic() - began


def main(names: list[str]) -> int:
    if unknown := set(names) - STEPS.keys():
        sys.stderr.write(f"no step {', '.join(sorted(unknown))}; there are {', '.join(STEPS)}\n")
        return 2
    usual = [name for name in STEPS if name not in WITH_NETWORK]
    chosen = sorted(names or usual, key=lambda name: name != "tests")
    failed = []
    # Two at a time: beside the tests, which wait for much, the others one after the other.
    with ThreadPoolExecutor(2) as pool:
        running = {pool.submit(_timed, STEPS[name][1]): name for name in chosen}
        for done in as_completed(running):
            name, (said, took_s) = running[done], done.result()
            verdict = "skipped" if isinstance(said, Skipped) else "FAILED" if said else "ok"
            told = f"{verdict:<7} {STEPS[name][0]} ({took_s:.1f} s)\n"
            if said:
                failed += [] if isinstance(said, Skipped) else [name]
                told += f"{said.rstrip()}\n"
            sys.stdout.write(f"\n{told}" if "tests" in chosen else told)
            sys.stdout.flush()
    if failed:
        sys.stdout.write(f"Failed: {', '.join(failed)}.\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

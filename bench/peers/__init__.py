"""Atelier's peers: the same endpoint as people write it on other stacks, installed apart from Atelier's environment."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from bench.servers import VAR

HERE = Path(__file__).resolve().parent
PYTHON_PINS = HERE.parent / "requirements.txt"


def python(pins: Path = PYTHON_PINS) -> Path:
    """The interpreter of an environment that holds what `pins` pins; made when that file is new."""
    folder = VAR / pins.stem
    stamp = folder / "installed"
    wanted = hashlib.sha256(pins.read_bytes()).hexdigest() + sys.version
    if not stamp.exists() or stamp.read_text() != wanted:
        venv.create(folder, clear=True, with_pip=True)
        _install(folder / "bin" / "python", "-m", "pip", "install", "-q", "-r", pins)
        stamp.write_text(wanted)
    return folder / "bin" / "python"


def python_before_atelier(pins: Path) -> Path:
    """An interpreter with what `pins` pins, and behind that everything that Atelier has."""
    found = python(pins)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = found.parents[1] / "lib" / version / "site-packages"
    (packages / "atelier.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return found


def node() -> Path:
    """The folder whose node_modules holds the locked packages; made when the lock is new."""
    folder = VAR / "node"
    stamp = folder / "installed"
    lock = HERE / "package-lock.json"
    if not stamp.exists() or stamp.read_bytes() != lock.read_bytes():
        if shutil.which("npm") is None:
            raise SystemExit("Comparing with Express needs Node 20 or newer and npm (Debian: apt install nodejs npm).")
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder)
        _install("npm", "ci", "--prefix", folder, "--omit=dev", "--no-audit", "--no-fund", "--silent")
        stamp.write_bytes(lock.read_bytes())
    return folder


def _install(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True)

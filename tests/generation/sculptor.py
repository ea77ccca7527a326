"""A stand-in for the program that reconstructs: it does what a test says, and is started, heard and stopped like it."""

from __future__ import annotations

import hashlib
import io
import os
import sys
from pathlib import Path
from typing import IO

import pytest
from PIL import Image

from generation.photogrammetry import meshes, runs
from tests.generation.material import encoded

_PROGRAM = """
import json, os, pathlib, signal, sys, time
from generation.photogrammetry.program import bind
from generation.photogrammetry.steps import CAMERAS, MODELS, say, tell

options = json.loads(sys.argv[1])
bind(parent=options["parent"], memory_bytes=1 << 30, cpu_s=60)
folder = pathlib.Path(options["folder"])
photos = sorted(path.name for path in folder.rglob("*.jpg"))
act = os.environ["SCULPTOR"]
pathlib.Path(os.environ["SCULPTOR_PID"]).write_text(str(os.getpid()))
tell("camera_init")
tell("feature_matching", 0.5)
if act == "hang":
    time.sleep(600)
elif act == "die":
    os.kill(os.getpid(), signal.SIGKILL)
elif act == "full":
    say(error="os_error", detail="OSError: No space left on device")
elif act.startswith("refuse "):
    say(error=act.partition(" ")[2], detail="for a test")
else:
    (folder / "results").mkdir()
    for name in (*MODELS, CAMERAS):
        (folder / "results" / name).write_text(f"{act} {name} of {len(photos)}")
    say(photos=len(photos), linked=len(photos), points=1000, vertices=500, faces=900)
"""

TYPES = {"glb": "model/gltf-binary", "obj": "model/obj", "ply": "model/ply"}


class Sculptor:
    """What it is to do: `make`, `hang`, `die`, `full` (the disk) or `refuse <code>`; and who it is."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.program, self._pid = folder / "sculptor.py", folder / "sculptor.pid"
        self.program.write_text(_PROGRAM)
        self.environment = {"SCULPTOR": "make", "SCULPTOR_PID": str(self._pid), "PYTHONPATH": os.getcwd()}
        monkeypatch.setattr(runs, "COMMAND", (sys.executable, str(self.program)))
        monkeypatch.setattr(runs, "ENVIRONMENT", self.environment)
        monkeypatch.setattr(meshes, "inspect", _inspect)

    def act(self, what: str) -> None:
        self.environment["SCULPTOR"] = what

    @property
    def pid(self) -> int:
        return int(self._pid.read_text()) if self._pid.exists() else 0

    def is_alive(self) -> bool:
        """Whether the one last started is."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        state = Path(f"/proc/{self.pid}/stat")
        return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


def _inspect(file: IO[bytes]) -> meshes.Found:
    """What is not proved here, trimesh proves in tests/generation/test_reconstruction.py."""
    file.seek(0)
    content = file.read()
    if content[:2] == b"PK":
        return meshes.Found("application/zip", len(content), "0" * 64, None)
    kind = TYPES[content.split(b" of ")[0][-3:].decode()]
    preview = io.BytesIO(encoded(Image.new("RGB", (8, 8)), "JPEG"))
    return meshes.Found(kind, len(content), hashlib.sha256(content).hexdigest(), preview)

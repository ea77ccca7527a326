"""Where reconstructions work on this machine: one at a time, a folder each, which never outlives its job."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
from django.conf import settings

log = structlog.get_logger("photogrammetry")

_TOKEN = re.compile(r"at_[0-9a-f]{32}")


@contextmanager
def turn() -> Iterator[bool]:
    """Whether it is ours to work: of all processes and threads of this machine one at a time. Ends with the process."""
    root = _root()
    with (root / "turn").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def open_folder(token: str) -> Path:
    """A fresh, empty folder for the attempt of that token."""
    folder = folder_of(token)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return folder


def folder_of(token: str) -> Path:
    """Where the attempt of that token works, or has worked."""
    return _root() / os.path.basename(token)


def tidy(wanted: Callable[[list[str]], set[str]]) -> int:
    """Remove every folder of an attempt that is not wanted; only for whoever has the turn. Returns how many.

    `wanted` is told the tokens that have a folder and answers those whose job still needs it. What is not named like a
    token is not ours to remove, wherever PHOTOGRAMMETRY_DIR may point to.
    """
    found = [entry.name for entry in os.scandir(_root()) if entry.is_dir(follow_symlinks=False)]
    tokens = [name for name in found if _TOKEN.fullmatch(name)]
    doomed = set(tokens) - wanted(tokens) if tokens else set()
    for token in doomed:
        shutil.rmtree(folder_of(token), ignore_errors=True)
        log.info("folder_removed", token=token)
    return len(doomed)


def free_bytes() -> int:
    """What the disk has left."""
    return shutil.disk_usage(_root()).free


def _root() -> Path:
    root: Path = settings.PHOTOGRAMMETRY_DIR
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    return root

"""Starting PostgreSQL for root, whom it refuses: as an unprivileged user, though that one may not enter our folders.

A checkout in /root, or in any folder closed to others, is out of that user's reach. No permission is changed: the
server gets a private mount namespace (Linux) in which the closed folder shows only what it needs, at the same paths.
"""

from __future__ import annotations

import ctypes
import os
import platform
import pwd
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CLONE_NEWNS = 0x00020000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000


class PrivilegeError(RuntimeError):
    """PostgreSQL cannot be run from here as another user; the message says what to do."""


@dataclass(frozen=True)
class Unprivileged:
    """A user to become, the folders it needs, and the closed folders on the way to them."""

    uid: int
    needs: tuple[Path, ...]
    closed: tuple[Path, ...] = ()

    def enter(self) -> None:
        """Become that user, in the child between fork and exec."""
        if self.closed:
            self._open_up()
        gid = pwd.getpwuid(self.uid).pw_gid
        os.setgroups([])
        os.setgid(gid)
        os.setuid(self.uid)

    def _open_up(self) -> None:
        _check(_libc().unshare(CLONE_NEWNS))
        _mount("none", Path("/"), None, MS_REC | MS_PRIVATE)
        os.umask(0o022)
        outer = [path for path in self.needs if not any(other in path.parents for other in self.needs)]
        kept = [(path, os.open(path, os.O_PATH)) for path in outer]  # in this namespace, or it cannot be bound
        for folder in self.closed:
            _mount("tmpfs", folder, "tmpfs", 0)
            folder.chmod(0o755)
        for path, descriptor in kept:
            if any(folder in path.parents for folder in self.closed):
                path.mkdir(parents=True)
                _mount(f"/proc/self/fd/{descriptor}", path, None, MS_BIND | MS_REC)
            os.close(descriptor)


def plan(uid: int | None, needs: Sequence[Path]) -> Unprivileged | None:
    """How to run as `uid` (None = as ourselves) with these folders in reach.

    Raises: PrivilegeError when a folder is closed and no private view can be made here.
    """
    if uid is None:
        return None
    closed = sorted({blocked for path in needs if (blocked := _first_closed(uid, path))})
    closed = [folder for folder in closed if not any(other in folder.parents for other in closed)]
    way = Unprivileged(uid, tuple(needs), tuple(closed))
    reason = _try(way)
    if reason:
        name = pwd.getpwuid(uid).pw_name
        where = closed[0] if closed else needs[0]
        raise PrivilegeError(
            f"PostgreSQL refuses to run as root, and the user {name} cannot enter {where} ({reason}). Run as an "
            f"ordinary user, or move the checkout to a folder open to others (such as /srv), or set DATABASE_URL."
        )
    return way


def _first_closed(uid: int, path: Path) -> Path | None:
    """The first folder on the way to `path` that the user cannot pass through; asked of the kernel, not guessed."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            Unprivileged(uid, ()).enter()
            for folder in reversed(path.parents):
                try:
                    os.stat(f"{folder}/.")  # as a string: Path would drop the dot, which asks for entry
                except OSError:
                    os.write(writer, os.fsencode(folder))
                    break
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        found = pipe.read()
    os.waitpid(child, 0)
    return Path(os.fsdecode(found)) if found else None


def _try(way: Unprivileged) -> str:
    """Walk the way once in a child: the reason why it fails, empty when it does not."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            way.enter()
            for path in way.needs:
                os.stat(f"{path}/.")
        except Exception as error:  # whatever it is, the parent must hear of it
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        reason = pipe.read().decode()
    os.waitpid(child, 0)
    return reason


def _libc() -> ctypes.CDLL:
    if platform.system() != "Linux":
        raise OSError("no mount namespaces here")
    return ctypes.CDLL(None, use_errno=True)


def _mount(source: str, target: Path, kind: str | None, flags: int) -> None:
    _check(
        _libc().mount(
            os.fsencode(source),
            os.fsencode(target),
            kind.encode() if kind else None,
            ctypes.c_ulong(flags),
            None,
        )
    )


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

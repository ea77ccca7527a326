"""Dumps of the database in the storage, and back: into a copy first, proved there, and only then in its place."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, LiteralString
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import storages
from django.db import connections
from psycopg import sql

import audit
from audit import sealing
from config import app_role
from config.embedded import postgres
from core import clock

FOLDER = "backups"
_STAMP = "%Y%m%dT%H%M%SZ"
GONE_WITHIN_S = 10.0  # a connection that was closed is still listed for a moment
_PROOFS = ("check_books", "verify_audit")


class BackupError(Exception):
    """What is in the way, in one sentence for the operator."""


@dataclass(frozen=True, slots=True)
class Backup:
    """One dump; its name is the moment that it shows."""

    name: str
    bytes: int

    @property
    def at(self) -> datetime:
        return datetime.strptime(self.name, f"{_STAMP}.dump").replace(tzinfo=UTC)


def take() -> Backup:
    """Dump the database as it is at one moment, while everything runs, and store it.

    Raises: BackupError.
    """
    name = f"{clock.now():{_STAMP}}.dump"
    with tempfile.TemporaryFile() as file:
        _run("pg_dump", "--format=custom", "--no-owner", "--no-privileges", database=_name(), stdout=file)
        size = file.seek(0, os.SEEK_END)  # the pg_dump of PostgreSQL 15 goes back and fills in the table of contents
        file.seek(0)
        key = f"{FOLDER}/{name}"
        stored = _storage().save(key, File(file, name=key))
    if stored != key:
        _storage().delete(stored)
        raise BackupError(f"There is a backup {name} already; wait a second.")
    if _storage().size(key) != size:
        _storage().delete(key)
        raise BackupError("The storage has kept less than was sent to it.")
    return Backup(name, size)


def all_of_them() -> list[Backup]:
    """The backups that are stored, oldest first."""
    try:
        _, names = _storage().listdir(FOLDER)
    except FileNotFoundError:
        return []
    return [Backup(name, _storage().size(f"{FOLDER}/{name}")) for name in sorted(names) if name.endswith(".dump")]


def prune(*, keep: int) -> list[Backup]:
    """Remove all but the newest; what was removed."""
    old = all_of_them()[:-keep]
    for backup in old:
        _storage().delete(f"{FOLDER}/{backup.name}")
    return old


def restore(name: str) -> str:
    """Make a copy of the database beside it from a backup; the copy's name.

    Raises: BackupError; then no copy is left.
    """
    with tempfile.NamedTemporaryFile() as file, _administration() as server:
        copy = f"{_name()}_restored_{_moment(server)}"
        try:
            with _storage().open(f"{FOLDER}/{name}") as kept:
                shutil.copyfileobj(kept, file)
        except FileNotFoundError as error:
            raise BackupError(f"There is no backup {name}.") from error
        file.flush()
        server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(copy)))
        try:
            jobs = min(4, os.cpu_count() or 1)
            options = ("--exit-on-error", "--no-owner", "--no-privileges", f"--jobs={jobs}")
            _run("pg_restore", *options, f"--dbname={copy}", file.name, database=copy)
        except BaseException:
            drop(copy)
            raise
    return copy


def drop(copy: str) -> None:
    """Remove a copy. Idempotent."""
    with _administration() as server:
        server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(copy)))


def prove(copy: str) -> Iterator[tuple[str, bool, str]]:
    """Ask the copy whether its books balance and its audit log is whole: (command, whether, what it said).

    Heads of the log that are younger than the copy are no business of it, so it is shown the others alone.
    """
    with tempfile.TemporaryDirectory() as folder:
        _lay_out_heads(Path(folder), copy)
        without = ("S3_BUCKET", "S3_ENDPOINT_URL", "S3_REGION", "S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY")
        environment = {
            **{name: value for name, value in os.environ.items() if name.removesuffix("_FILE") not in without},
            **dict.fromkeys(without, ""),
            "BACKUP_BUCKET": "",
            "MEDIA_ROOT": folder,
            "DATABASE_URL": _url(copy),
        }
        for command in _PROOFS:
            done = subprocess.run(
                [sys.executable, "manage.py", command],
                cwd=settings.BASE_DIR,
                env=environment,
                capture_output=True,
                text=True,
            )
            yield command, done.returncode == 0, (done.stdout + done.stderr).strip()


def refuse_while_in_use() -> None:
    """Close our own connections, and insist that nobody else has one.

    Raises: BackupError.
    """
    connections.close_all()
    deadline = time.monotonic() + GONE_WITHIN_S
    with _administration() as server:
        while count := _one(server, "SELECT count(*) FROM pg_stat_activity WHERE datname = %s", [_name()]):
            if time.monotonic() > deadline:
                raise BackupError(f"{count} connections use the database: stop web, workers and beat first.")
            time.sleep(0.05)


def put_in_place(copy: str, *, backup: str) -> str:
    """Let the copy be the database; the name under which the former one stays.

    Raises: BackupError while anything is connected to it.
    """
    refuse_while_in_use()
    with _administration() as server:
        former = f"{_name()}_before_{_moment(server)}"
        with server.transaction():  # both names change, or neither does
            if _one(server, "SELECT count(*) FROM pg_database WHERE datname = %s", [_name()]):
                _rename(server, _name(), former)
            _rename(server, copy, _name())
    if settings.APP_DATABASE_URL:
        app_role.entrust()
    aside = sealing.set_heads_aside()
    audit.record(
        "installation.restored",
        ("installation", "database"),
        metadata={"backup": backup, "former": former, "heads_set_aside": aside},
    )
    return former


def _storage() -> Any:
    return storages["backups"]


def _name() -> str:
    return str(settings.DATABASES["default"]["NAME"])


def _url(database: str) -> str:
    return urlunsplit(urlsplit(settings.DATABASE_URL)._replace(path=f"/{quote(database)}"))


@contextmanager
def _administration() -> Iterator[psycopg.Connection[Any]]:
    """A connection to the server, to none of our databases."""
    where = settings.DATABASES["default"]
    try:
        with psycopg.connect(**_parameters(where, "postgres"), autocommit=True) as connection:
            yield connection
    except psycopg.OperationalError as error:
        raise BackupError(f"The database server cannot be reached: {error}") from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise BackupError("The user of DATABASE_URL may not make databases: ALTER ROLE … CREATEDB.") from error


def _one(server: psycopg.Connection[Any], query: LiteralString, parameters: list[Any] | None = None) -> Any:
    row = server.execute(query, parameters).fetchone()
    return row[0] if row else None


def _moment(server: psycopg.Connection[Any]) -> str:
    """Of the server's clock, for a name: our own database may not be there."""
    return f"{_one(server, 'SELECT now()').astimezone(UTC):%Y%m%d%H%M%S}"


def _rename(server: psycopg.Connection[Any], old: str, new: str) -> None:
    server.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(old), sql.Identifier(new)))


def _parameters(where: dict[str, Any], database: str) -> dict[str, Any]:
    named = {"host": where["HOST"], "port": where["PORT"], "user": where["USER"], "password": where["PASSWORD"]}
    tls = {name: value for name, value in where["OPTIONS"].items() if name.startswith("ssl")}
    return {"dbname": database} | {name: str(value) for name, value in (named | tls).items() if value}


def _run(program: str, *arguments: str, database: str, stdout: IO[bytes] | None = None) -> None:
    """Run one of PostgreSQL's programs on a database. Raises: BackupError with what it said."""
    spelt = {"dbname": "database"}
    parameters = _parameters(settings.DATABASES["default"], database).items()
    environment = {f"PG{spelt.get(name, name).upper()}": value for name, value in parameters}
    done = subprocess.run(
        [_program(program), "--no-password", *arguments],
        env={**os.environ, **environment},
        stdout=stdout or subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=stdout is None,
    )
    if done.returncode != 0:
        said = done.stderr if isinstance(done.stderr, str) else done.stderr.decode(errors="replace")
        raise BackupError(f"{program} failed: {said.strip()}")


def _program(name: str) -> str:
    """Where it lies: in PG_BIN, in the embedded server's folder, or in the PATH."""
    given = os.environ.get("PG_BIN")
    try:
        folders = [given] if given else [str(postgres.binaries())]
    except postgres.PostgresError:
        folders = []
    found = shutil.which(name, path=os.pathsep.join([*folders, os.environ.get("PATH", "")]))
    if found is None:
        raise BackupError(f"{name} is not here: install PostgreSQL's client programs, or name their folder in PG_BIN.")
    return found


def _lay_out_heads(folder: Path, copy: str) -> None:
    with psycopg.connect(**_parameters(settings.DATABASES["default"], copy)) as connection:
        last = _one(connection, "SELECT coalesce(max(number), 0) FROM audit_seal")
    heads = folder / sealing.HEADS
    heads.mkdir(parents=True)
    for name in sealing.heads(until=last):
        (heads / name).touch()

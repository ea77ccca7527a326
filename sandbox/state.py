"""The sandbox's memory: JSON documents in one SQLite file, so that it survives a restart or a kill."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Doc = dict[str, Any]

SCHEMA = """
CREATE TABLE IF NOT EXISTS document (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL, id TEXT NOT NULL, parent TEXT, created_at INTEGER NOT NULL, doc TEXT NOT NULL,
    UNIQUE (kind, id)
);
CREATE INDEX IF NOT EXISTS document_parent ON document (kind, parent);
CREATE INDEX IF NOT EXISTS document_created ON document (kind, created_at);
CREATE TABLE IF NOT EXISTS agenda (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, due_at REAL NOT NULL, action TEXT NOT NULL, args TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS agenda_due ON agenda (due_at);
"""


class StateInUse(Exception):
    """Another sandbox holds this directory's state."""


class Store:
    """Documents by (kind, id). Only the event loop's thread uses it, and no write awaits: each call is atomic."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None, timeout=1)
        try:
            # Exclusive: a second sandbox on the same directory would run every timed action twice.
            self.connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            self.connection.execute("PRAGMA journal_mode=WAL")
            self.connection.execute("PRAGMA synchronous=NORMAL")
            self.connection.executescript(SCHEMA)
            with self.transaction():
                pass
        except sqlite3.OperationalError as error:
            self.connection.close()
            raise StateInUse(str(error)) from error

    def close(self) -> None:
        self.connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; an inner one joins the outer one."""
        if self.connection.in_transaction:
            yield
            return
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    def put(self, kind: str, id: str, doc: Doc, *, parent: str | None = None) -> None:
        """Insert or replace; parent and creation time stay those of the first insert."""
        self.connection.execute(
            "INSERT INTO document (kind, id, parent, created_at, doc) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (kind, id) DO UPDATE SET doc = excluded.doc",
            (kind, id, parent, _created_at(doc), json.dumps(doc)),
        )

    def get(self, kind: str, id: str) -> Doc | None:
        row = self.connection.execute("SELECT doc FROM document WHERE kind = ? AND id = ?", (kind, id)).fetchone()
        return json.loads(row[0]) if row else None

    def delete(self, kind: str, id: str) -> None:
        self.connection.execute("DELETE FROM document WHERE kind = ? AND id = ?", (kind, id))

    def find(
        self,
        kind: str,
        *,
        parent: str | None = None,
        since: int | None = None,
        until: int | None = None,
        limit: int = -1,
        skip: int = 0,
        newest_first: bool = True,
    ) -> list[Doc]:
        """Documents of one kind, by creation; `since` and `until` are inclusive Unix seconds."""
        where: list[str] = ["kind = ?"]
        values: list[str | int] = [kind]
        for clause, value in (("parent = ?", parent), ("created_at >= ?", since), ("created_at <= ?", until)):
            if value is not None:
                where.append(clause)
                values.append(value)
        order = "DESC" if newest_first else "ASC"
        rows = self.connection.execute(
            f"SELECT doc FROM document WHERE {' AND '.join(where)} ORDER BY seq {order} LIMIT ? OFFSET ?",
            (*values, limit, skip),
        )
        return [json.loads(row[0]) for row in rows]

    def count(self, kind: str) -> int:
        return int(self.connection.execute("SELECT count(*) FROM document WHERE kind = ?", (kind,)).fetchone()[0])

    def trim(self, kind: str, keep: int) -> None:
        """Forget all but the newest `keep` documents of a kind that is only a log."""
        self.connection.execute(
            "DELETE FROM document WHERE kind = ? AND seq <= (SELECT seq FROM document WHERE kind = ?"
            " ORDER BY seq DESC LIMIT 1 OFFSET ?)",
            (kind, kind, keep),
        )

    def clear(self) -> None:
        with self.transaction():
            self.connection.execute("DELETE FROM document")
            self.connection.execute("DELETE FROM agenda")


def _created_at(doc: Doc) -> int:
    stated = doc.get("created_at", doc.get("created"))
    return int(stated) if isinstance(stated, int | float) else int(time.time())

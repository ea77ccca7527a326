"""The short way to the database, for the few statements that every request or every spend pays for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections


def fetch(sql: str, arguments: Sequence[Any] | Mapping[str, Any]) -> tuple[Any, ...] | None:
    """Run a statement and return its first row.

    Goes past Django's cursor to a server-side one with a prepared statement, since Python is most of the time that
    such a statement takes; goes through Django's where somebody watches the statements (DEBUG, query counts in tests).
    Values travel in binary, which halves that again: ask for `host(ip)`, as an inet would not come as text.
    """
    database = connections[DEFAULT_DB_ALIAS]  # once: each attribute of the `connection` proxy is a look-up of its own
    database.close_if_health_check_failed()
    if database.connection is None:
        database.ensure_connection()
    found: tuple[Any, ...] | None
    if database.queries_logged or database.execute_wrappers:
        with database.cursor() as watched:
            watched.execute(sql, arguments)
            found = watched.fetchone()
    else:
        database.validate_no_broken_transaction()
        with database.wrap_database_errors:
            cursor = psycopg.Cursor(database.connection)
            found = cursor.execute(sql, arguments, prepare=True, binary=True).fetchone()
    return found

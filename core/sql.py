"""The short way to the database, for the few statements that every request or every spend pays for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import DEFAULT_DB_ALIAS, OperationalError, connection, connections, transaction
from psycopg.errors import QueryCanceled


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


class TookTooLong(Exception):
    """The database was told to stop reading."""


@contextmanager
def each_within(seconds: float) -> Iterator[None]:
    """A transaction in which no statement may take longer: for what people look at, never for what has to be done.

    Raises: TookTooLong.
    """
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{round(seconds * 1000)}ms"])
            yield
    except OperationalError as error:
        if not isinstance(error.__cause__, QueryCanceled):
            raise
        raise TookTooLong from error

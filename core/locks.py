"""Bounded waiting for locks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection
from django.db.utils import OperationalError
from psycopg import errors as pg


@contextmanager
def lock_timeout(ms: int) -> Iterator[None]:
    """Inside a transaction: wait at most this long for any lock until the transaction ends.

    Units: milliseconds.
    Raises: django.db.OperationalError (see `is_lock_timeout`) in the body.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{ms}ms"])
    yield


def is_lock_timeout(error: BaseException) -> bool:
    """Whether PostgreSQL gave up waiting for a lock, or chose us as a deadlock's victim."""
    return isinstance(error, OperationalError) and isinstance(
        error.__cause__, pg.LockNotAvailable | pg.DeadlockDetected | pg.SerializationFailure
    )

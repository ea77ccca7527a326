"""Looks at a gateway are numbered, so that one begun earlier never undoes what a later one has shown."""

from __future__ import annotations

from django.db import connection


def begin() -> int:
    """The number of a look; take it before the gateway is asked. One query, and no row is locked."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('billing_look_number')")
        (number,) = cursor.fetchone()
    return int(number)

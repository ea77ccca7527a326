"""Letting go of rows whose time is over, whole seals at a time. The seals stay, so the chain is never broken."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from django.db import connection, transaction

from audit.sealing import BATCH, take_turn
from audit.trail import record
from audit.verification import ROWS_SQL

# The oldest seals that still list rows, as many as have BATCH of them together, or one.
_DUE = """
SELECT min(number), max(number), sum(rows)::int FROM (
    SELECT number, rows, until_at, sum(rows) OVER so_far AS total, row_number() OVER so_far AS place
    FROM (SELECT number, rows, until_at FROM audit_seal WHERE members IS NOT NULL ORDER BY number LIMIT 1000) s
    WINDOW so_far AS (ORDER BY number)
) s WHERE until_at < %s AND (total <= %s OR place = 1)
"""


class PurgeRefused(Exception):
    """Nothing more is purged; the text says why."""


class Purged(NamedTuple):
    first: int
    last: int
    rows: int


def due(before: datetime) -> Purged:
    """What a purge would take: the seals that end before the moment, and their rows."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(min(number), 0), coalesce(max(number), 0), coalesce(sum(rows), 0) FROM audit_seal"
            " WHERE members IS NOT NULL AND until_at < %s",
            [before],
        )
        return Purged(*cursor.fetchone())


def purge(before: datetime) -> Iterator[Purged]:
    """Delete the rows and details under the seals that end before the moment, oldest first, some seals a transaction.

    Only the owner of the tables may. What is not as it was sealed stays, as evidence, with everything after it.

    Raises: PurgeRefused; django.db.InternalError for any other role.
    """
    while True:
        with transaction.atomic(), connection.cursor() as cursor:
            if not take_turn():
                raise PurgeRefused("The sealer or another purge is at work; try again.")
            cursor.execute(_DUE, [before, BATCH])
            first, last, rows = cursor.fetchone()
            if first is None:
                return
            which = {"first": first, "last": last}
            cursor.execute(ROWS_SQL.format(which="s.number BETWEEN %(first)s AND %(last)s"), which)
            if broken := cursor.fetchone():
                raise PurgeRefused(
                    f"{broken[0]} {broken[1]}: run verify_audit; nothing from seal {first} on is purged."
                )
            cursor.execute("SELECT set_config('audit.purge', 'on', true)")
            for table, column in (("audit_auditdetail", "log_id"), ("audit_auditlog", "id")):
                cursor.execute(
                    f"DELETE FROM {table} WHERE {column} IN (SELECT unnest(members) FROM audit_seal"
                    " WHERE number BETWEEN %(first)s AND %(last)s)",
                    which,
                )
            cursor.execute(
                "UPDATE audit_seal SET members = NULL, leaves = NULL WHERE number BETWEEN %(first)s AND %(last)s", which
            )
            cursor.execute("SELECT set_config('audit.purge', '', true)")
            record("seal.purged", ("seal", last), metadata={"first": first, "rows": rows})
        yield Purged(first, last, rows)

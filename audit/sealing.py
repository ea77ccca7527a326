"""Sealing the log: each batch of rows is hashed, and each seal holds the hash of the one before.

A row's leaf and a seal's hash are SHA-256 of one line of JSON, as PostgreSQL writes jsonb; an export carries those very
lines, so they are proved without a database. The heads of the chain also go to the log and to the storage: a tail that
is cut off from the database is still known there.
"""

from __future__ import annotations

import io
from contextlib import suppress
from typing import NamedTuple

import structlog
from django.conf import settings
from django.db import connection, transaction

from core import storage

log = structlog.get_logger("audit")

BATCH = 10_000
HEADS = "audit/heads"
LOST_HEADS = "audit/lost-heads"
_LOCK = 5_226_614_871_207_091_201  # of the advisory locks, the one of whoever seals or purges

_TIME = """to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""

# Of `a`, a row: all its columns; `old` and `new` only where there are any, as JSON has a null of its own.
ROW_TEXT = f"""(jsonb_build_object(
    'id', a.id, 'at', {_TIME.format("a.at")}, 'action', a.action, 'entity_type', a.entity_type,
    'entity_id', a.entity_id, 'user_id', a.user_id, 'actor_id', a.actor_id, 'on_behalf_of_id', a.on_behalf_of_id,
    'source', a.source, 'request_id', a.request_id, 'metadata', a.metadata,
    'detail_hash', encode(a.detail_hash, 'hex'))
    || CASE WHEN a.old IS NULL THEN jsonb_build_object() ELSE jsonb_build_object('old', a.old) END
    || CASE WHEN a.new IS NULL THEN jsonb_build_object() ELSE jsonb_build_object('new', a.new) END)::text"""
LEAF = f"sha256(convert_to({ROW_TEXT}, 'UTF8'))"
# Of `s`, a seal: what its hash is of.
SEAL_TEXT = f"""jsonb_build_object(
    'seal', s.number, 'at', {_TIME.format("s.at")}, 'until_at', {_TIME.format("s.until_at")}, 'until_id', s.until_id,
    'rows', s.rows, 'previous', encode(s.previous, 'hex'), 'content', encode(s.content, 'hex'))::text"""

# Ids and times are given before a transaction commits. A writer that still runs can only add rows later than its own
# beginning, so nothing before the oldest one's can still appear. Of a writer of another role (the tables' owner)
# only its lock may be seen and not its beginning: then nothing is sealed until it has ended.
_UNTIL = """
SELECT least(statement_timestamp() - make_interval(secs => %s), min(xact_start))
FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND backend_xid IS NOT NULL
    AND pid <> pg_backend_pid()
HAVING NOT EXISTS (
    SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE a.datname = current_database() AND a.backend_type IS NULL
        AND l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted)
"""

_SEAL = f"""
WITH last AS (
    SELECT coalesce(max(number), 0) AS number FROM audit_seal
), mark AS (
    SELECT last.number + 1 AS number, coalesce(p.hash, decode(repeat('00', 32), 'hex')) AS previous,
        coalesce(p.until_at, '-infinity') AS at, coalesce(p.until_id, 0) AS id
    FROM last LEFT JOIN audit_seal p ON p.number = last.number
), due AS MATERIALIZED (
    SELECT a.id, a.at, {LEAF} AS leaf FROM mark, audit_auditlog a
    WHERE (a.at, a.id) > (mark.at, mark.id) AND a.at < %(until)s
    ORDER BY a.at, a.id LIMIT %(batch)s
), batch AS (
    SELECT count(*)::int AS rows, coalesce(array_agg(id ORDER BY at, id), '{{}}') AS members,
        coalesce(array_agg(leaf ORDER BY at, id), '{{}}') AS leaves,
        sha256(coalesce(string_agg(leaf, ''::bytea ORDER BY at, id), '')) AS content, max(at) AS at
    FROM due
), s AS (
    SELECT mark.number, statement_timestamp() AS at,
        CASE WHEN rows = %(batch)s THEN batch.at ELSE %(until)s END AS until_at,
        CASE WHEN rows = %(batch)s THEN members[rows] ELSE 0 END AS until_id,
        rows, previous, content, members, leaves
    FROM mark, batch
    WHERE rows > 0 OR %(until)s >= mark.at + make_interval(secs => %(lag)s)
)
INSERT INTO audit_seal (number, at, until_at, until_id, rows, previous, content, members, leaves, hash)
SELECT s.*, sha256(convert_to({SEAL_TEXT}, 'UTF8')) FROM s
RETURNING number, rows, encode(hash, 'hex')
"""


class Sealed(NamedTuple):
    number: int
    rows: int
    hash: str


def seal_due() -> int:
    """Seal every row that has reached its age, in batches, and put the heads where the database cannot reach.

    Where nothing was written an empty seal moves the mark all the same. Answers how many rows.

    Idempotent: one at a time; a second one leaves it to the first.
    """
    rows = 0
    while (sealed := _seal_batch()) is not None:
        rows += sealed.rows
        log.info("audit_sealed", seal=sealed.number, rows=sealed.rows, hash=sealed.hash)
        if sealed.rows < BATCH:
            break
    store_heads()
    return rows


def _seal_batch() -> Sealed | None:
    with transaction.atomic(), connection.cursor() as cursor:
        if not take_turn():
            return None
        cursor.execute(_UNTIL, [settings.AUDIT_SEAL_LAG_S])
        if not (found := cursor.fetchone()):
            return None
        [until] = found
        # A statement of its own: it sees whoever has committed since the writers were looked at.
        cursor.execute(_SEAL, {"until": until, "batch": BATCH, "lag": settings.AUDIT_SEAL_LAG_S})
        found = cursor.fetchone()
    return None if found is None else Sealed(*found)


def take_turn() -> bool:
    """Whether the running transaction alone may now seal or purge, until it ends.

    Locks: an advisory one, without waiting.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])
        return bool(cursor.fetchone()[0])


def head_key(number: int, hash: str) -> str:
    """Where a seal's head lies: both are in the name, so that a listing of the folder tells the whole chain."""
    return f"{HEADS}/{number:012d}-{hash}"


def store_heads() -> int:
    """Store the heads that are not stored yet: from the newest back to one that is. Answers how many.

    Idempotent: a head's key holds its hash, so it is only ever written with the same bytes.
    """
    stored = 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT max(number) FROM audit_seal")
        number = cursor.fetchone()[0] or 0
        while number > 0:
            cursor.execute(f"SELECT encode(s.hash, 'hex'), {SEAL_TEXT} FROM audit_seal s WHERE s.number = %s", [number])
            found = cursor.fetchone()
            if found is None or storage.exists(key := head_key(number, found[0])):
                break
            with suppress(ValueError):  # another was quicker
                storage.save(key, io.BytesIO(found[1].encode()), "application/json")
            stored += 1
            number -= 1
    return stored


def heads(*, until: int) -> list[str]:
    """The names of the stored heads of seals up to this one."""
    names = storage.names(HEADS)
    return [name for name in names if (number := name.partition("-")[0]).isdecimal() and int(number) <= until]


def set_heads_aside() -> int:
    """After a backup has been restored: move the heads of seals that it does not have, as their numbers come again.

    Idempotent. Answers how many; they stay in the storage as what was lost.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(number), 0) FROM audit_seal")
        kept = set(heads(until=cursor.fetchone()[0]))
    lost = [name for name in storage.names(HEADS) if name not in kept]
    for name in lost:
        with storage.open(f"{HEADS}/{name}") as head, suppress(ValueError):  # moved by one that was killed then
            storage.save(f"{LOST_HEADS}/{name}", head, "application/json")
        storage.delete(f"{HEADS}/{name}")
    return len(lost)


class Standing(NamedTuple):
    number: int
    hash: str
    lag_s: float  # how far the newest mark trails now: at best as far as a row has to be old


def standing() -> Standing | None:
    """The newest seal, and how far sealing lags; nothing before the first."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT number, encode(hash, 'hex'), extract(epoch FROM statement_timestamp() - until_at)::float8"
            " FROM audit_seal ORDER BY number DESC LIMIT 1"
        )
        found = cursor.fetchone()
    return None if found is None else Standing(*found)

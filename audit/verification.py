"""Proving that the log is as it was sealed, and naming what is not. Nothing is held but one batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

import orjson
import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models.functions import Now

from audit import trail
from audit.models import Verification
from audit.sealing import HEADS, LEAF, SEAL_TEXT
from audit.trail import detail_hash
from core import jobs, storage

log = structlog.get_logger("audit")

# Enough to see what is wrong; somebody may have rewritten everything.
NAMED = 1000
LEASE = timedelta(hours=2)  # of whoever verifies: ten million rows take minutes

# Each answers (what, what is wrong with it). `{which}` chooses among the seals `s`.
CHAIN_SQL = f"""
SELECT 'seal ' || s.number, problem
FROM (
    SELECT *, lag(number, 1, 0::bigint) OVER earlier AS before, lag(hash) OVER earlier AS before_hash
    FROM audit_seal WINDOW earlier AS (ORDER BY number)
) s
CROSS JOIN LATERAL (VALUES
    (s.number <> s.before + 1, 'the seals before it, from ' || (s.before + 1) || ' on, were removed'),
    (s.number = s.before + 1 AND s.previous <> coalesce(s.before_hash, decode(repeat('00', 32), 'hex')),
        'does not follow the seal before it'),
    (s.hash <> sha256(convert_to({SEAL_TEXT}, 'UTF8')), 'was changed'),
    ((s.members IS NULL) <> (s.leaves IS NULL) OR cardinality(s.members) <> s.rows OR cardinality(s.leaves) <> s.rows
        OR s.content <> (SELECT sha256(coalesce(string_agg(leaf, ''::bytea ORDER BY place), ''))
            FROM unnest(s.leaves) WITH ORDINALITY l (leaf, place) HAVING s.leaves IS NOT NULL),
        'its list of rows was changed'),
    (s.members IS NULL AND s.number > coalesce((
            SELECT entity_id::bigint FROM audit_auditlog
            WHERE action = 'seal.purged' AND entity_type = 'seal' ORDER BY id DESC LIMIT 1), 0),
        'its rows are gone, and no purge is on record')
) AS found (is_so, problem)
WHERE is_so AND {{which}}
ORDER BY s.number
"""
ROWS_SQL = f"""
WITH sealed AS MATERIALIZED (
    SELECT s.number, m.id, m.leaf
    FROM audit_seal s CROSS JOIN LATERAL unnest(s.members, s.leaves) m (id, leaf) WHERE {{which}}
), covered AS (
    SELECT s.number, a.id
    FROM audit_seal s
    LEFT JOIN LATERAL (SELECT until_at, until_id FROM audit_seal WHERE number < s.number ORDER BY number DESC LIMIT 1) p
        ON true
    JOIN audit_auditlog a ON (a.at, a.id) > (coalesce(p.until_at, '-infinity'), coalesce(p.until_id, 0))
        AND (a.at, a.id) <= (s.until_at, s.until_id)
    WHERE {{which}}
)
SELECT 'row ' || m.id, CASE WHEN a.id IS NULL THEN 'was removed' ELSE 'was changed' END
    || ' since seal ' || m.number
FROM sealed m LEFT JOIN audit_auditlog a ON a.id = m.id
WHERE a.id IS NULL OR m.leaf IS DISTINCT FROM {LEAF}
UNION ALL
SELECT 'row ' || id, 'was inserted into what seal ' || number || ' covers'
FROM (SELECT number, id FROM covered EXCEPT SELECT number, id FROM sealed) intruder
"""
_DETAILS = """
SELECT a.id, a.detail_hash, d.salt, host(d.ip), d.user_agent, d.personal::text
FROM audit_seal s
CROSS JOIN LATERAL unnest(s.members) m (id)
JOIN audit_auditlog a ON a.id = m.id
LEFT JOIN audit_auditdetail d ON d.log_id = a.id
WHERE s.number = %s AND (a.detail_hash IS NOT NULL OR d.log_id IS NOT NULL)
"""


@dataclass(frozen=True, slots=True)
class Finding:
    what: str
    problem: str


@dataclass(slots=True)
class Report:
    seals: int = 0
    rows: int = 0
    erased: int = 0  # rows whose personal part is gone: somebody was forgotten
    purged: int = 0  # rows whose time was over
    unsealed: int = 0  # rows too young to be sealed
    heads: int = 0
    head: str = ""
    problems: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return self.problems == 0

    def name(self, what: str, problem: str) -> None:
        self.problems += 1
        if len(self.findings) < NAMED:
            self.findings.append(Finding(what, problem))


def verify() -> Report:
    """Prove every seal, every sealed row and its detail, over one REPEATABLE READ READ ONLY snapshot.

    A row younger than the last seal's mark proves nothing yet; it is only counted.
    """
    report = Report()
    heads = _heads(report)  # before the snapshot, which then has all that were sealed until now
    is_nested = connection.in_atomic_block
    with nullcontext() if is_nested else transaction.atomic(), connection.cursor() as cursor:
        if not is_nested:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        _name_all(report, cursor, CHAIN_SQL.format(which="true"), {})
        _compare(report, heads, cursor)
        for number, rows, is_purged in _seals(cursor):
            report.seals += 1
            report.rows += rows
            report.purged += rows if is_purged else 0
            _name_all(report, cursor, ROWS_SQL.format(which="s.number = %(number)s"), {"number": number})
            _prove_details(report, cursor, number)
        cursor.execute(
            "SELECT count(*) FROM audit_auditlog WHERE (at, id) > (SELECT coalesce(max(until_at), '-infinity'), "
            "coalesce((array_agg(until_id ORDER BY number DESC))[1], 0) FROM audit_seal)"
        )
        [report.unsealed] = cursor.fetchone()
    return report


def _name_all(report: Report, cursor: Any, sql: str, parameters: dict[str, Any]) -> None:
    cursor.execute(sql, parameters)
    for what, problem in cursor:
        report.name(what, problem)


def _seals(cursor: Any) -> Iterator[tuple[int, int, bool]]:
    cursor.execute("SELECT coalesce(max(number), 0) FROM audit_seal")
    [last] = cursor.fetchone()
    for first in range(1, last + 1, 1000):
        cursor.execute(
            "SELECT number, rows, members IS NULL FROM audit_seal WHERE number >= %s AND number < %s ORDER BY number",
            [first, first + 1000],
        )
        yield from cursor.fetchall()


def _prove_details(report: Report, cursor: Any, number: int) -> None:
    cursor.execute(_DETAILS, [number])
    for row_id, kept, salt, ip, user_agent, personal in cursor:
        if kept is None:
            report.name(f"row {row_id}", "was given a personal part that it did not have")
        elif salt is None:
            report.erased += 1
        elif detail_hash(bytes(salt), ip, user_agent, orjson.loads(personal)) != bytes(kept):
            report.name(f"row {row_id}", "its personal part was changed")


def _heads(report: Report) -> list[tuple[int, str]]:
    try:
        names = storage.names(HEADS)
    except Exception as error:
        # Whatever the store's client raises: without the heads a cut tail cannot be seen, so nothing is proved.
        report.name("heads", f"the storage cannot be read: {type(error).__name__}")
        return []
    heads = [(int(number), hash) for number, _, hash in (name.partition("-") for name in names) if number.isdecimal()]
    report.heads = len(heads)
    return sorted(heads)


def _compare(report: Report, heads: list[tuple[int, str]], cursor: Any) -> None:
    """Hold the chain against what was told to the storage."""
    cursor.execute("SELECT number, encode(hash, 'hex') FROM audit_seal ORDER BY number DESC LIMIT 1")
    last, report.head = cursor.fetchone() or (0, "")
    for first in range(0, len(heads), 1000):
        part = heads[first : first + 1000]
        cursor.execute(
            "SELECT number, encode(hash, 'hex') FROM audit_seal WHERE number = ANY(%s)",
            [[number for number, _ in part]],
        )
        kept = dict(cursor.fetchall())
        for number, hash in part:
            if number > last:
                report.name(f"seal {number}", "was cut off: its head is in the storage")
            elif kept.get(number, hash) != hash:
                report.name(f"seal {number}", "is not the one whose head is in the storage")


@trail.writes("verification")
def request(*, requester: Any) -> Verification:
    """Have the whole log verified by a worker.

    Idempotent: while one is open, that is it.
    Enqueues: audit.verify
    """
    with transaction.atomic():
        if found := Verification.objects.filter(next_at__isnull=False).first():
            return found
        made = Verification.objects.create(requester_id=requester.pk)
        trail.record("verification.requested", made, actor_id=requester.pk)
        jobs.wake("audit.verify")
    return made


@trail.writes("verification")
def verify_due() -> int:
    """Verify what was asked for, and every AUDIT_VERIFY_EVERY_S all the same; every finding is an error line, too.

    Idempotent: one that a dead worker left is due again after LEASE.
    """
    every = timedelta(seconds=settings.AUDIT_VERIFY_EVERY_S)
    if every and not Verification.objects.filter(created_at__gt=Now() - every).exists():
        Verification.objects.create()
    taken = 0
    while (due := _claim()) is not None:
        taken += 1
        report = verify()
        for finding in report.findings:
            log.error("audit_broken", what=finding.what, problem=finding.problem)
        told = asdict(report)
        with transaction.atomic():
            Verification.objects.filter(pk=due.pk).update(
                next_at=None, done_at=Now(), is_clean=report.is_clean, report=told
            )
            figures = {name: value for name, value in told.items() if isinstance(value, int)}
            trail.record("verification.done", due, new=figures, metadata={"head": report.head})
    return taken


def _claim() -> Verification | None:
    found = Verification.objects.raw(
        """
        UPDATE audit_verification SET next_at = statement_timestamp() + %s
        WHERE id = (
            SELECT id FROM audit_verification WHERE next_at <= statement_timestamp()
            ORDER BY next_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
        )
        RETURNING *
        """,
        [LEASE],
    )
    return next(iter(found), None)

"""What a check is, and running all of them over one snapshot."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.utils.module_loading import import_string

log = structlog.get_logger("books")

# Enough to see what is wrong; a broken rule can break every row.
NAMED_ROWS = 200


@dataclass(frozen=True, slots=True)
class Check:
    """An invariant. Its query answers (row, what is wrong) for each row that breaks it, and nothing when all is well.

    Parameters of the query: `%(since)s`, only what changed since then is of interest, null for everything; and
    `%(since_id)s`, the smallest UUIDv7 of that moment, for tables whose rows never change.
    `is_full_only` marks what costs too much to ask every few minutes.
    """

    name: str
    rule: str
    sql: str
    is_full_only: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    row: str
    problem: str


@dataclass(frozen=True, slots=True)
class Report:
    began_at: datetime
    since: datetime | None
    took_ms: int
    checks: tuple[str, ...]
    findings: tuple[Finding, ...] = field(default_factory=tuple)

    @property
    def is_clean(self) -> bool:
        return not self.findings

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"is_clean": self.is_clean}


def all_checks() -> list[Check]:
    """The ledger's checks, the payments' and those of higher apps."""
    from billing.books import ledger, payments

    registered: Iterable[Callable[[], Iterable[Check]]] = map(import_string, settings.BOOK_CHECKS)
    return [*ledger.CHECKS, *payments.CHECKS, *chain.from_iterable(function() for function in registered)]


def run(*, since: datetime | None = None) -> Report:
    """Ask every check over one REPEATABLE READ READ ONLY snapshot. `since` limits it to what was touched from then on.

    Inside the caller's transaction it sees what that sees, and cannot set its isolation.
    """
    checks = [check for check in all_checks() if since is None or not check.is_full_only]
    findings: list[Finding] = []
    is_nested = connection.in_atomic_block
    with nullcontext() if is_nested else transaction.atomic(), connection.cursor() as cursor:
        if not is_nested:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute("SELECT clock_timestamp()")
        [began_at] = cursor.fetchone()
        known = {"since": since, "since_id": _smallest_id(since)}
        for check in checks:
            cursor.execute(check.sql, known)
            rows = cursor.fetchmany(NAMED_ROWS)
            findings += [Finding(check.name, str(row), str(problem)) for row, problem in rows]
        cursor.execute("SELECT (extract(epoch FROM clock_timestamp() - %s) * 1000)::int", [began_at])
        [took_ms] = cursor.fetchone()
    return Report(began_at, since, took_ms, tuple(check.name for check in checks), tuple(findings))


def _smallest_id(since: datetime | None) -> uuid.UUID:
    """No row born since has a smaller UUIDv7. A minute's margin: ids are made before their transaction commits."""
    if since is None:
        return uuid.UUID(int=0)
    milliseconds = int((since - timedelta(minutes=1)).timestamp() * 1000)
    return uuid.UUID(int=milliseconds << 80)

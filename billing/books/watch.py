"""The standing check: every few minutes what was touched, once a night everything, each result kept."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from django.db import connection
from django.db.models import Sum

from billing.books.checks import NAMED_ROWS, Report, run
from billing.models import BookCheck, UserWalletKind, Wallet

log = structlog.get_logger("books")

# A transaction may touch a wallet and commit only later: look again at what is a little older than the last look.
OVERLAP = timedelta(minutes=15)
NOT_AGAIN_WITHIN = "4 minutes"
FULL_AT_UTC = "3 hours"
KEEP_CLEAN = timedelta(days=30)

_WHAT_IS_DUE = """
SELECT
    coalesce(max(began_at) > now() - %s::interval, false),
    coalesce(bool_or(since IS NULL AND began_at >= date_trunc('day', now() AT TIME ZONE 'UTC' - %s::interval)
        AT TIME ZONE 'UTC' + %s::interval), false),
    coalesce((array_agg(is_clean ORDER BY began_at DESC))[1], false),
    max(began_at)
FROM billing_bookcheck
"""


def check_due() -> BookCheck | None:
    """Check the books as far as it is due, and keep what was found.

    In full when no full check has run since the last 03:00 UTC, and for as long as the last one found something: a
    broken row that nobody touches must not look mended. None when a check has just run.

    Idempotent: two at once only look twice.
    """
    with connection.cursor() as cursor:
        cursor.execute(_WHAT_IS_DUE, [NOT_AGAIN_WITHIN, FULL_AT_UTC, FULL_AT_UTC])
        is_fresh, is_full_done, was_clean, last = cursor.fetchone()
    if is_fresh:
        return None
    return keep(run(since=_since(last) if is_full_done and was_clean else None))


def keep(report: Report) -> BookCheck:
    """Store a report; every finding is also an error line for whoever is on call."""
    for finding in report.findings[:NAMED_ROWS]:
        log.error("books_broken", check=finding.check, row=finding.row, problem=finding.problem)
    kept: BookCheck = BookCheck.objects.create(
        since=report.since,
        began_at=report.began_at,
        took_ms=report.took_ms,
        is_clean=report.is_clean,
        outstanding=_outstanding() if report.since is None else None,
        findings=[
            {"check": finding.check, "row": finding.row, "problem": finding.problem} for finding in report.findings
        ],
    )
    BookCheck.objects.filter(is_clean=True, began_at__lt=report.began_at - KEEP_CLEAN).delete()
    return kept


def _outstanding() -> int:
    found = Wallet.objects.filter(kind=UserWalletKind.CREDITS).aggregate(owned=Sum("balance"))
    return found["owned"] or 0


def _since(last: datetime) -> datetime:
    return last - OVERLAP

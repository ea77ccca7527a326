from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from core.metrics import counted


def families() -> Iterator[Metric]:
    """Whether the books balance, when that was last proved, and what the ledger holds."""
    yield from counted(
        "books_findings",
        "Rows that break the books, by the last check",
        [],
        "SELECT jsonb_array_length(findings) FROM billing_bookcheck ORDER BY began_at DESC LIMIT 1",
    )
    yield from counted(
        "books_checked_seconds_ago",
        "Age of the last check of the books, by its scope",
        ["scope"],
        "SELECT scope, extract(epoch FROM statement_timestamp() - max(began_at)) FROM ("
        " SELECT began_at, CASE WHEN since IS NULL THEN 'full' ELSE 'touched' END AS scope FROM billing_bookcheck"
        ") looked GROUP BY scope",
    )
    yield from counted(
        "holds_open",
        "Open holds, by kind of subject and whether they are past their alarm",
        ["subject", "is_late"],
        "SELECT subject_type, alarm_at < statement_timestamp(), count(*) FROM billing_hold"
        " WHERE state = 'open' GROUP BY 1, 2",
    )
    yield from counted(
        "holds_oldest_seconds",
        "Age of the oldest open hold",
        [],
        "SELECT coalesce(extract(epoch FROM statement_timestamp() - min(created_at)), 0) FROM billing_hold"
        " WHERE state = 'open'",
    )
    yield from counted(
        "debts_open",
        "What customers owe in minor units, by unit",
        ["unit"],
        "SELECT unit, sum(remaining) FROM billing_debt WHERE remaining > 0 GROUP BY unit",
    )

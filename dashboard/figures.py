"""A person's jobs and credits as numbers: in all, or day by day. Each function is one query, whatever the history."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Count, Q
from django.db.models.functions import TruncDate

from billing import totals
from core.ids import lowest_id
from generation.models import Generation, Kind, State

# As their addresses spell them.
PLURALS: dict[str, str] = {
    Kind.HEADSHOT: "headshots",
    Kind.IMAGE: "images",
    Kind.VIDEO: "videos",
    Kind.AVATAR: "avatars",
    Kind.MODEL3D: "models",
}
_TALLY = {
    "total": Count("id"),
    "completed": Count("id", filter=Q(state=State.SUCCEEDED)),
    "failed": Count("id", filter=Q(state=State.FAILED)),
}
Figures = dict[str, Any]

# A transaction's id is of the time of its birth: the entries of other days are left out before their transactions are
# looked up. A day of grace, since some ids are made by the web machines' clocks.
_BY_DAY = f"""
SELECT (t.created_at AT TIME ZONE 'UTC')::date AS day, {totals.SUMS}, sum(e.amount)::bigint AS net
FROM billing_ledgerentry e JOIN billing_ledgertransaction t ON t.id = e.transaction_id
WHERE e.wallet_id = {totals.WALLET} AND e.transaction_id >= %(floor)s AND t.created_at >= %(since)s
GROUP BY 1
"""


def credits_by_day(viewer: Any, days: list[date]) -> list[Figures]:
    """Credits on each of the days on which they moved, in UTC, oldest first."""
    since = _start(days[0])
    arguments = {"user": viewer.pk, "since": since, "floor": lowest_id(since - timedelta(days=1))}
    by_day = {row.pop("day"): row for row in fetch(_BY_DAY, arguments)}
    nothing = dict.fromkeys(("earned", "purchased", "used", "refunded", "lost", "net"), 0)
    return [{"date": day} | by_day.get(day, nothing) for day in days]


def jobs(viewer: Any) -> Figures:
    """Jobs by kind, deleted ones included: they were paid for."""
    return _by_kind(Generation.objects.filter(user=viewer).values("kind").annotate(**_TALLY))


def jobs_by_day(viewer: Any, days: list[date]) -> list[Figures]:
    """The same for each of the days on which they were ordered, in UTC, oldest first."""
    since = Generation.objects.filter(user=viewer, created_at__gte=_start(days[0]))
    by_day: dict[date, list[Any]] = {}
    for row in since.values("kind", day=TruncDate("created_at", tzinfo=UTC)).annotate(**_TALLY):
        by_day.setdefault(row["day"], []).append(row)
    return [{"date": day} | _by_kind(by_day.get(day, ())) for day in days]


def total(rows: list[Figures]) -> Figures:
    """The sum of the days."""
    first, *others = ({name: value for name, value in row.items() if name != "date"} for row in rows)
    for row in others:
        first = {name: _add(first[name], row[name]) for name in first}
    return first


def _add(one: Any, other: Any) -> Any:
    return {name: one[name] + other[name] for name in one} if isinstance(one, dict) else one + other


def _by_kind(rows: Iterable[Any]) -> Figures:
    found: Figures = {name: dict.fromkeys(_TALLY, 0) for name in PLURALS.values()}
    for row in rows:
        found[PLURALS[row["kind"]]] = {name: row[name] for name in _TALLY}
    return found | {"total": sum(figures["total"] for figures in found.values())}


def _start(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def fetch(sql: str, arguments: dict[str, Any]) -> list[Figures]:
    with connection.cursor() as cursor:
        cursor.execute(sql, arguments)
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

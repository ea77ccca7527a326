"""The home's figures over the last day, week, month or quarter: each one query, over an index, of that time alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from core.ids import lowest_id
from core.money import CREDIT, display
from dashboard.figures import fetch

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time up to now, and into what steps it is cut."""

    code: str
    title: str
    length: timedelta
    step: timedelta

    def arguments(self, now: datetime) -> dict[str, Any]:
        since = self.starts(now)[0]
        # A day of grace: some ids are made by the web machines' clocks.
        return {"since": since, "step": self.step, "floor": lowest_id(since - timedelta(days=1))}

    def starts(self, now: datetime) -> list[datetime]:
        """When each step begins; the last one has not ended yet."""
        of_day = datetime(now.year, now.month, now.day, tzinfo=UTC)
        last = of_day + (now - of_day) // self.step * self.step
        return [last - self.step * ago for ago in reversed(range(self.length // self.step))]


SPANS = {
    span.code: span
    for span in (
        Span("24h", "24 hours", timedelta(hours=24), timedelta(hours=1)),
        Span("7d", "7 days", timedelta(days=7), timedelta(hours=6)),
        Span("30d", "30 days", timedelta(days=30), timedelta(days=1)),
        Span("90d", "90 days", timedelta(days=90), timedelta(days=3)),
    )
}


@dataclass(frozen=True, slots=True)
class Bar:
    """A step of one series, its height in percent of the chart's highest."""

    at: datetime
    value: int
    shown: str
    height: float


@dataclass(frozen=True, slots=True)
class Series:
    title: str
    total: str
    bars: list[Bar]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    title: str
    series: list[Series] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)
    table: list[Row] = field(default_factory=list)
    note: str = ""  # instead of figures


_REVENUE = """
SELECT gateway || ' ' || currency AS series, currency AS unit, date_bin(%(step)s, created_at, %(since)s) AS at,
    sum(received - refunded - lost)::bigint AS value, count(*) AS number
FROM billing_payment
WHERE created_at >= %(since)s AND received > 0
GROUP BY 1, 2, 3
"""
# A transaction's id is of the time of its birth, so its primary key is the index over time.
_CREDITS = """
SELECT CASE t.kind WHEN 'purchase' THEN 'sold' WHEN 'grant' THEN 'given' ELSE 'spent' END AS series,
    'CREDIT' AS unit, date_bin(%(step)s, t.created_at, %(since)s) AS at, sum(e.amount)::bigint AS value
FROM billing_ledgertransaction t JOIN billing_ledgerentry e ON e.transaction_id = t.id AND e.amount > 0
WHERE t.id >= %(floor)s AND t.created_at >= %(since)s AND t.unit = 'CREDIT' AND t.kind IN ('purchase', 'grant', 'spend')
GROUP BY 1, 3
"""
_JOBS = """
SELECT state AS series, date_bin(%(step)s, finished_at, %(since)s) AS at, count(*) AS value
FROM generation_generation WHERE finished_at >= %(since)s GROUP BY 1, 2
UNION ALL
SELECT state, NULL, count(*) FROM generation_generation
WHERE state IN ('queued', 'submitting', 'running', 'storing') GROUP BY 1 ORDER BY 1
"""
_PROVIDERS = """
SELECT provider, count(*) FILTER (WHERE state = 'succeeded') AS succeeded,
    count(*) FILTER (WHERE state = 'failed') AS failed, count(*) FILTER (WHERE state = 'canceled') AS canceled,
    percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY extract(epoch FROM finished_at - round_started_at))
        FILTER (WHERE state = 'succeeded') AS took_s
FROM generation_generation WHERE finished_at >= %(since)s GROUP BY 1 ORDER BY 1
"""
_MAILS = """
SELECT state AS series, date_bin(%(step)s, created_at, %(since)s) AS at, count(*) AS value
FROM notifications_mail WHERE created_at >= %(since)s GROUP BY 1, 2
"""
_PEOPLE = """
SELECT 'registered' AS series, date_bin(%(step)s, created_at, %(since)s) AS at, count(*) AS value,
    count(*) FILTER (WHERE verified_at IS NOT NULL) AS number
FROM accounts_user WHERE created_at >= %(since)s AND NOT is_staff GROUP BY 2
"""
# As the newest full check of the books added it up, and what has moved between customers and us since.
_OUTSTANDING = """
WITH checked AS (
    SELECT outstanding, began_at,
        rpad(lpad(to_hex((extract(epoch FROM began_at - interval '1 day') * 1000)::bigint), 12, '0'), 32, '0')::uuid
            AS floor
    FROM billing_bookcheck WHERE outstanding IS NOT NULL ORDER BY began_at DESC LIMIT 1
)
SELECT (outstanding - coalesce((
    SELECT sum(e.amount) FROM billing_ledgertransaction t
    JOIN billing_ledgerentry e ON e.transaction_id = t.id JOIN billing_wallet w ON w.id = e.wallet_id
    WHERE t.id >= floor AND t.created_at > began_at AND t.unit = 'CREDIT' AND w.user_id IS NULL
), 0))::bigint AS outstanding FROM checked
"""


def revenue(span: Span, now: datetime) -> Chart:
    """What stayed of payments begun in the time, by gateway and currency. Nothing adds one currency to another."""
    return Chart("Revenue by gateway", _series(fetch(_REVENUE, span.arguments(now)), span, now, apart=True))


def credits(span: Span, now: datetime) -> Chart:
    """Credits sold, given and spent; what customers own in all."""
    chart = Chart("Credits", _series(fetch(_CREDITS, span.arguments(now)), span, now, order=("sold", "given", "spent")))
    for found in fetch(_OUTSTANDING, {}):
        chart.facts.append(("Outstanding", display(found["outstanding"], CREDIT)))
    return chart


def jobs(span: Span, now: datetime) -> Chart:
    """Jobs that ended, by how; those that are open now; each provider's success and how long it takes."""
    arguments = span.arguments(now)
    rows = fetch(_JOBS, arguments)
    ended = _series((row for row in rows if row["at"]), span, now, order=("succeeded", "failed", "canceled"))
    still_open = [(f"{row['series']} now", f"{row['value']:,}") for row in rows if not row["at"]]
    table = [_provider(row) for row in fetch(_PROVIDERS, arguments)]
    return Chart("Jobs", ended, still_open, table)


def mails(span: Span, now: datetime) -> Chart:
    return Chart("Mail", _series(fetch(_MAILS, span.arguments(now)), span, now))


def people(span: Span, now: datetime) -> Chart:
    found = fetch(_PEOPLE, span.arguments(now))
    verified = sum(row["number"] for row in found)
    return Chart("Sign-ups", _series(found, span, now), [("of these verified", f"{verified:,}")] if found else [])


# Whoever may look at such rows may look at their sums.
CHARTS: tuple[tuple[str, str, Callable[[Span, datetime], Chart]], ...] = (
    ("Revenue by gateway", "billing.view_payment", revenue),
    ("Credits", "billing.view_ledgertransaction", credits),
    ("Jobs", "generation.view_generation", jobs),
    ("Mail", "notifications.view_mail", mails),
    ("Sign-ups", "accounts.view_user", people),
)


def _provider(row: Row) -> Row:
    ended = row["succeeded"] + row["failed"]
    half, most = row["took_s"] or (None, None)
    return row | {
        "success": f"{100 * row['succeeded'] / ended:.1f} %" if ended else "-",
        "p50": "-" if half is None else f"{half:,.1f} s",
        "p95": "-" if most is None else f"{most:,.1f} s",
    }


def _series(
    found: Iterable[Row], span: Span, now: datetime, *, order: tuple[str, ...] = (), apart: bool = False
) -> list[Series]:
    """The rows as series with a bar for each step; `apart` gives each its own scale, since units cannot be compared."""
    by_name: dict[str, dict[datetime, Row]] = {}
    for row in found:
        by_name.setdefault(row["series"], {})[row["at"]] = row
    names = sorted(by_name, key=lambda name: (order.index(name) if name in order else len(order), name))
    tops = {name: max((row["value"] for row in by_name[name].values()), default=0) for name in names}
    top = max(tops.values(), default=0)
    return [_one(name, by_name[name], span.starts(now), top=max(1, tops[name] if apart else top)) for name in names]


def _one(name: str, found: dict[datetime, Row], starts: list[datetime], *, top: int) -> Series:
    unit = next((row.get("unit") for row in found.values()), None)

    def shown(value: int) -> str:
        return display(value, unit) if unit else f"{value:,}"

    values = [(at, found[at]["value"] if at in found else 0) for at in starts]
    number = sum(row["number"] for row in found.values() if unit and "number" in row)
    return Series(
        title=name,
        total=shown(sum(value for _, value in values)),
        bars=[Bar(at, value, shown(value), max(0.0, 100 * value / top)) for at, value in values],
        note=f"{number:,} paid" if number else "",
    )

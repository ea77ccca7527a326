"""The providers beside each other: what they made, how fast, what went wrong, and what we paid for nothing."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

from core import clock
from dashboard.console.charts import Span
from dashboard.figures import fetch
from generation import providers
from generation.models import Operation

# An attempt's id is of the time of its birth, so its primary key is the index over time. What is lost is what an
# attempt cost that was not the one that made its job.
_ATTEMPTS = """
SELECT provider, outcome, error_code, cost_unit, count(*) AS number,
    sum(provider_cost) FILTER (WHERE outcome <> 'succeeded') AS lost, sum(provider_cost) AS cost
FROM generation_attempt
WHERE id >= %(floor)s AND created_at >= %(since)s GROUP BY 1, 2, 3, 4
"""
_LATENCY = """
SELECT provider, percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY latency_ms) AS ms
FROM generation_attempt
WHERE id >= %(floor)s AND created_at >= %(since)s AND latency_ms IS NOT NULL GROUP BY 1
"""
ENDED_WELL = "succeeded"
ENDED_BADLY = ("failed", "not_started")


def of(span: Span) -> list[dict[str, Any]]:
    """Each provider of an operation, with its operations and its figures over the time. Three queries."""
    arguments = span.arguments(clock.now())
    by_provider: dict[str, list[Operation]] = {}
    for operation in Operation.objects.order_by("provider", "code"):
        by_provider.setdefault(operation.provider, []).append(operation)
    rows = fetch(_ATTEMPTS, arguments)
    latency = {row["provider"]: row["ms"] for row in fetch(_LATENCY, arguments)}
    return [
        {
            "name": name,
            "operations": operations,
            "is_configured": providers.is_configured(name),
            "is_on": any(operation.is_enabled for operation in operations),
            "latency": [f"{ms:,.0f} ms" for ms in latency.get(name, [])],
            **_figures([row for row in rows if row["provider"] == name]),
        }
        for name, operations in by_provider.items()
    ]


def _figures(rows: list[dict[str, Any]]) -> dict[str, Any]:
    outcomes: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    lost: dict[str, Decimal] = {}
    for row in rows:
        outcomes[row["outcome"]] += row["number"]
        if row["error_code"]:
            errors[row["error_code"]] += row["number"]
        if row["lost"]:
            lost[row["cost_unit"]] = lost.get(row["cost_unit"], Decimal(0)) + row["lost"]
    good, bad = outcomes[ENDED_WELL], sum(outcomes[name] for name in ENDED_BADLY)
    return {
        "attempts": outcomes.total(),
        "success": f"{100 * good / (good + bad):.1f} %" if good + bad else "-",
        "errors": errors.most_common(5),
        "lost": [f"{amount.normalize():f} {unit}" for unit, amount in sorted(lost.items())],
    }

"""Generation's figures, read from the tables when they are scraped."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from core import tallies
from core.metrics import counted
from generation import reports


def families() -> Iterator[Metric]:
    """Jobs by kind, provider and state; how late the oldest due job is."""
    yield from tallies.family("generations", "Jobs that came into a state", ["kind", "provider", "state"])
    yield from counted(
        "generation_lag_seconds",
        "How long the oldest due job has been waiting, by state",
        ["state"],
        """
        SELECT state, greatest(0, extract(epoch FROM statement_timestamp() - min(next_at)))
        FROM generation_generation
        WHERE state IN ('queued', 'submitting', 'running', 'storing')
          AND next_at <= statement_timestamp()
          AND (lease_until IS NULL OR lease_until < statement_timestamp())
        GROUP BY 1
        """,
    )
    waiting = GaugeMetricFamily("reports_waiting", "Reports for a human: open, of these overdue", labels=["which"])
    for which, count in reports.waiting().items():
        waiting.add_metric([which], count)
    yield waiting
    yield from counted(
        "generations_unknown",
        "Jobs of which nobody can tell whether the provider works on them",
        [],
        "SELECT count(*) FROM generation_generation WHERE unknown AND state IN ('submitting', 'running')",
    )

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from core.metrics import counted


def families() -> Iterator[Metric]:
    """Webhooks by provider and state, and the age of the oldest one due."""
    yield from counted(
        "webhooks",
        "Webhooks stored, by provider and state",
        ["provider", "state"],
        "SELECT provider, state, count(*) FROM inbox_delivery GROUP BY 1, 2",
    )
    yield from counted(
        "webhooks_lag_seconds",
        "How long the oldest due webhook has waited",
        [],
        "SELECT coalesce(extract(epoch FROM statement_timestamp() - min(next_at)), 0) FROM inbox_delivery"
        " WHERE state IN ('received', 'failed') AND next_at <= statement_timestamp()",
    )

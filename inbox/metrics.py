from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from core import tallies
from core.metrics import counted


def families() -> Iterator[Metric]:
    """Webhooks by provider and state, and the age of the oldest one due."""
    yield from tallies.family("webhooks", "Webhooks that came into a state, by provider", ["provider", "state"])
    yield from counted(
        "webhooks_lag_seconds",
        "How long the oldest due webhook has waited",
        [],
        "SELECT coalesce(extract(epoch FROM statement_timestamp() - min(next_at)), 0) FROM inbox_delivery"
        " WHERE state IN ('received', 'failed') AND next_at <= statement_timestamp()",
    )

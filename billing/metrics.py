from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from core import tallies
from core.metrics import counted


def families() -> Iterator[Metric]:
    """Payments by gateway and state, what waits for a person, and how far behind each gateway's lists are read."""
    yield from tallies.family("payments", "Payments that came into a state, by gateway", ["gateway", "state"])
    yield from counted(
        "payment_breaks_open",
        "What a gateway says and the books cannot take, by kind",
        ["kind"],
        "SELECT kind, count(*) FROM billing_break WHERE resolved_at IS NULL GROUP BY 1",
    )
    yield from counted(
        "refunds_waiting",
        "Refunds not yet sent or not yet through, by gateway and state",
        ["gateway", "state"],
        "SELECT gateway, state, count(*) FROM billing_refund WHERE next_at IS NOT NULL GROUP BY 1, 2",
    )
    yield from counted(
        "gateway_cursor_lag_seconds",
        "How long ago each of a gateway's lists was last read to its end",
        ["gateway", "resource"],
        "SELECT gateway, resource, extract(epoch FROM statement_timestamp()) - position FROM billing_gatewaycursor",
    )

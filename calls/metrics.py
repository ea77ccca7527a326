"""The figures of calls, read from the tables when they are scraped."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from core import tallies
from core.metrics import counted


def families() -> Iterator[Metric]:
    """Calls by where they stand; how late the most overdue is; rooms that wait."""
    yield from tallies.family("calls", "Calls that came into a state", ["state"])
    yield from counted(
        "call_lag_seconds", "How long ago the most overdue call had to be looked at", [],
        "SELECT coalesce(greatest(0, extract(epoch FROM statement_timestamp() - min(due_at))), 0) FROM calls_call"
        " WHERE state IN ('ringing', 'answered')",
    )  # fmt: skip
    yield from counted(
        "call_rooms_waiting", "Rooms that are to be made or deleted by now", [],
        "SELECT count(*) FROM calls_call WHERE room_due_at <= statement_timestamp()",
    )  # fmt: skip

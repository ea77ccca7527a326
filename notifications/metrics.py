from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from core import tallies
from core.metrics import counted


def families() -> Iterator[Metric]:
    """Mails by template and state, what nobody gets any more, and how long the oldest due one has waited."""
    yield from tallies.family("emails", "Mails that came into a state, by template", ["name", "state"])
    yield from counted(
        "emails_suppressed_addresses",
        "Addresses that get essential mail only, by reason",
        ["reason"],
        "SELECT reason, count(*) FROM notifications_suppression GROUP BY 1",
    )
    yield from counted(
        "emails_lag_seconds",
        "How long the oldest due mail has waited",
        [],
        "SELECT coalesce(extract(epoch FROM statement_timestamp() - min(next_at)), 0) FROM notifications_mail"
        " WHERE state = 'queued' AND next_at <= statement_timestamp()",
    )

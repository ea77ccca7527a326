from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from core.metrics import counted


def families() -> Iterator[Metric]:
    """How far sealing lags, when the log was last proved, and what was found then."""
    yield from counted(
        "audit_seal_lag_seconds",
        "How far the newest seal trails now; AUDIT_SEAL_LAG_S and ten minutes when all is well",
        [],
        "SELECT extract(epoch FROM statement_timestamp() - until_at) FROM audit_seal ORDER BY number DESC LIMIT 1",
    )
    yield from counted(
        "audit_verified_seconds_ago",
        "Age of the last verification of the whole log",
        [],
        "SELECT extract(epoch FROM statement_timestamp() - done_at) FROM audit_verification"
        " WHERE done_at IS NOT NULL ORDER BY created_at DESC LIMIT 1",
    )
    yield from counted(
        "audit_problems",
        "What the last verification found not to be as it was sealed",
        [],
        "SELECT coalesce((report->>'problems')::bigint, 0) FROM audit_verification"
        " WHERE done_at IS NOT NULL ORDER BY created_at DESC LIMIT 1",
    )

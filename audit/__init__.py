"""The audit log: `audit.record(...)` in the transaction of the change."""

from audit.trail import record, writes

__all__ = ["record", "writes"]

"""The audit log: `audit.record(...)` in the transaction of the change."""

from audit.trail import change, record, writes

__all__ = ["change", "record", "writes"]

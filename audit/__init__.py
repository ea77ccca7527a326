"""The audit log: `audit.record(...)` in the transaction of the change."""

from audit.forgetting import forget
from audit.trail import change, record, writes

__all__ = ["change", "forget", "record", "writes"]

"""The audit log: `audit.record(...)` in the transaction of the change."""

from audit.forgetting import forget
from audit.trail import Fact, change, continuing, record, record_all, writes

__all__ = ["Fact", "change", "continuing", "forget", "record", "record_all", "writes"]

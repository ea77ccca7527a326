"""The audit log: `audit.record(...)` in the transaction of the change."""

from audit.forgetting import forget
from audit.trail import Fact, change, record, record_all, writes

__all__ = ["Fact", "change", "forget", "record", "record_all", "writes"]

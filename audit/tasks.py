from __future__ import annotations

from audit import approvals
from core import jobs


@jobs.task("audit.expire_approvals")
def expire_approvals() -> None:
    approvals.expire_due()

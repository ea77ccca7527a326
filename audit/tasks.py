from __future__ import annotations

from audit import approvals, sealing
from core import jobs


@jobs.task("audit.expire_approvals")
def expire_approvals() -> None:
    approvals.expire_due()


@jobs.task("audit.seal", queue="bulk")
def seal() -> None:
    sealing.seal_due()

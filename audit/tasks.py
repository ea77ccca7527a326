from __future__ import annotations

from audit import approvals, extracts, sealing, verification
from core import jobs


@jobs.task("audit.expire_approvals")
def expire_approvals() -> None:
    approvals.expire_due()


@jobs.task("audit.seal", queue="bulk")
def seal() -> None:
    sealing.seal_due()


@jobs.task("audit.verify", queue="bulk")
def verify() -> None:
    verification.verify_due()


@jobs.task("audit.extract", queue="bulk")
def extract() -> None:
    extracts.make_due()
    extracts.purge()

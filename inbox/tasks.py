from __future__ import annotations

from core import jobs
from inbox import deliveries


@jobs.task("inbox.handle", queue="webhooks")
def handle() -> None:
    deliveries.handle_due()


@jobs.task("inbox.purge")
def purge() -> None:
    deliveries.purge()

from __future__ import annotations

from core import jobs
from notifications import delivery


@jobs.task("notifications.deliver", queue="mail")
def deliver() -> None:
    delivery.deliver_due()


@jobs.task("notifications.purge")
def purge() -> None:
    delivery.purge()

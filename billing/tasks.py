from __future__ import annotations

from billing import books, ledger, reconcile, refunds
from core import jobs


@jobs.task("billing.poll_payments", queue="providers")
def poll_payments() -> None:
    reconcile.poll()


@jobs.task("billing.walk_gateways", queue="providers")
def walk_gateways() -> None:
    reconcile.walk()


@jobs.task("billing.send_refunds", queue="providers")
def send_refunds() -> None:
    refunds.send_due()


@jobs.task("billing.expire_credits")
def expire_credits() -> None:
    ledger.expire_all()


@jobs.task("billing.check_books", queue="bulk")
def check_books() -> None:
    books.check_due()

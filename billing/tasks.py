from __future__ import annotations

from billing import books, ledger, reconcile, refunds, subscriptions
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


@jobs.task("billing.poll_subscriptions", queue="providers")
def poll_subscriptions() -> None:
    subscriptions.poll()


@jobs.task("billing.tend_subscriptions")
def tend_subscriptions() -> None:
    subscriptions.grant_months()
    subscriptions.tell_expiring()


@jobs.task("billing.expire_credits")
def expire_credits() -> None:
    ledger.expire_all()


@jobs.task("billing.check_books", queue="bulk")
def check_books() -> None:
    books.check_due()

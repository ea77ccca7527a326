"""Money of one person moving from two sides at once: locks are taken in one order, and no figure is read too early."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction

from accounts.models import User
from billing import gateways, ledger, payments, refunds
from billing.ledger import expiry
from billing.models import Debt
from tests import books
from tests.billing import given
from tests.billing.buying import available, bought, fresh, pay, start, together
from tests.people import api
from tests.sandbox.process import RunningSandbox

pytestmark = pytest.mark.django_db(transaction=True)


def somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # else a transaction sees everybody as they first were
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return bool(cursor.fetchone()[0])


def test_a_failed_refund_beside_a_purchase_neither_deadlocks_nor_loses_credits(
    alice: User, finance: User, sandbox: RunningSandbox
) -> None:
    payment = bought(sandbox, alice)
    given.spent(alice, 85)
    refund = refunds.request(payment_id=payment.pk, amount=49_900, reason="asked for it", actor=finance)
    assert ledger.balance(alice.pk).debt == 80
    sandbox.gateway("refunds", str(refund.ref), "fail")
    fact = gateways.get("razorpay").fetch_refund(str(refund.ref))
    is_locked = threading.Event()

    def purchase() -> None:
        with transaction.atomic():
            expiry.lock_of(alice.pk, "credits", "CREDIT")
            is_locked.set()
            deadline = time.monotonic() + 60
            while not somebody_waits() and time.monotonic() < deadline:
                time.sleep(0.02)  # between two looks at a condition
            given.bought(alice, 30)

    def fail() -> None:
        is_locked.wait(60)
        payments.refresh(payment, refund_facts=[fact])

    faults = [found for found in together(purchase, fail) if isinstance(found, Exception)]

    assert faults == []

    assert not Debt.objects.filter(remaining__gt=0).exists()
    assert ledger.balance(alice.pk).available == 50  # 20 unspent of the purchase refunded in vain, and the 30
    books.check()


@contextmanager
def locked(table: str, pk: Any) -> Iterator[None]:
    """Somebody else holds the row, and nobody waits for it for long."""
    is_held, is_over = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SELECT 1 FROM {table} WHERE id = %s FOR UPDATE", [pk])
            is_held.set()
            is_over.wait(100)

    holder = threading.Thread(target=together, args=[hold])
    holder.start()
    assert is_held.wait(60)
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '100ms'")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET lock_timeout")
        is_over.set()
        holder.join()


def assert_conflict(answer: Any, charged: str) -> None:
    body = answer.json()
    assert (answer.status_code, body["error"], body["charged"]) == (409, "conflict", charged)
    assert answer["Retry-After"] == "1"


@pytest.mark.parametrize("act", ["verify", "cancel"])
def test_a_lock_not_had_after_the_gateway_was_asked_leaves_the_charge_unknown(
    alice: User, sandbox: RunningSandbox, act: str
) -> None:
    payment = start(alice)
    pay(sandbox, payment)

    with locked("billing_payment", payment.pk):
        assert_conflict(api(alice).post(f"/api/v1/payments/{payment.pk}/{act}"), "unknown")

    assert fresh(payment).state == "pending"
    assert api(alice).post(f"/api/v1/payments/{payment.pk}/verify").json()["status"] == "succeeded"
    assert available(alice) == 105
    books.check()


def test_a_lock_not_had_while_a_payment_starts_leaves_the_charge_unknown_and_the_key_resumes(
    alice: User, sandbox: RunningSandbox
) -> None:
    older = start(alice)
    body, wish = {"item": "package:BASIC", "gateway": "razorpay"}, {"Idempotency-Key": "wish"}

    with locked("billing_payment", older.pk):
        assert_conflict(api(alice, **wish).post("/api/v1/payments", body), "unknown")

    again = api(alice, **wish).post("/api/v1/payments", body)
    assert (again.status_code, again.json()["id"]) == (200, str(older.pk))
    books.check()

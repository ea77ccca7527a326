"""Money of one person moving from two sides at once: locks are taken in one order, and no figure is read too early."""

from __future__ import annotations

import threading
import time

import pytest
from django.db import connection, transaction

from accounts.models import User
from billing import gateways, ledger, payments, refunds
from billing.ledger import expiry
from billing.models import Debt
from tests import books
from tests.billing import given
from tests.billing.buying import bought, together
from tests.sandbox.process import RunningSandbox

pytestmark = pytest.mark.django_db(transaction=True)


def somebody_waits() -> bool:
    with connection.cursor() as cursor:
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
            deadline = time.monotonic() + 20
            while not somebody_waits() and time.monotonic() < deadline:
                time.sleep(0.02)  # between two looks at a condition
            given.bought(alice, 30)

    def fail() -> None:
        is_locked.wait(20)
        payments.refresh(payment, refund_facts=[fact])

    faults = [found for found in together(purchase, fail) if isinstance(found, Exception)]

    assert faults == []

    assert not Debt.objects.filter(remaining__gt=0).exists()
    assert ledger.balance(alice.pk).available == 50  # 20 unspent of the purchase refunded in vain, and the 30
    books.check()

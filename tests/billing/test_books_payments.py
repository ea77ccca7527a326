"""The books notice when a payment and the ledger tell different stories."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db.models import F

from accounts.models import User
from billing import books, ledger, refunds
from billing.models import Dispute, Payment, PaymentAttempt, Refund
from core.ids import new_id
from tests.billing.buying import bought, pay, start
from tests.sandbox.process import RunningSandbox

pytestmark = pytest.mark.django_db


def found(**since: float) -> set[str]:
    moment = datetime.now(UTC) - timedelta(**since) if since else None
    return {finding.check for finding in books.run(since=moment).findings}


@pytest.fixture
def refunded(alice: User, finance: User, sandbox: RunningSandbox) -> Payment:
    """A payment half refunded, in good order."""
    payment = bought(sandbox, alice)
    refunds.request(payment_id=payment.pk, amount=24_950, reason="asked", actor=finance)
    assert found() == found(hours=1) == set()
    return payment


def test_a_capture_that_is_not_in_the_books(refunded: Payment) -> None:
    PaymentAttempt.objects.update(amount=F("amount") + 1)

    assert found() == {"gateway_money", "captures_recorded", "payment_figures"}
    assert found(hours=1) == {"captures_recorded", "payment_figures"}


def test_money_in_the_books_that_no_payment_tells_of(refunded: Payment) -> None:
    ledger.record_money(gateway="razorpay", amount=1, currency="INR", key="x", subject=("payment", new_id()))

    assert found() == {"gateway_money"}


def test_a_refund_that_never_left_the_books(refunded: Payment) -> None:
    Refund.objects.update(state="failed")

    assert found() == {"gateway_money", "payment_figures", "refunds_recorded"}


def test_a_loss_that_is_not_in_the_books(refunded: Payment) -> None:
    attempt = PaymentAttempt.objects.get()
    Dispute.objects.create(
        payment=refunded,
        attempt=attempt,
        gateway="razorpay",
        ref="disp_1",
        amount=10,
        currency="INR",
        state="lost",
        lost=10,
        applied=10,
    )

    assert found() == {"gateway_money", "payment_figures"}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"received": 59_900}, {"payment_figures"}),
        ({"refunding": 5}, {"payment_figures"}),
        ({"granted": 101}, {"payment_grants"}),
        ({"fulfilment": "refused"}, {"payment_grants"}),
        ({"fulfilment": "none"}, {"payment_grants", "payment_states"}),
        ({"state": "expired"}, {"payment_states"}),
        ({"taken": 49}, {"clawed_back"}),
        ({"amount": 99_999}, {"payment_states"}),
    ],
)
def test_a_payment_whose_figures_are_wrong(refunded: Payment, wrong: dict[str, object], named: set[str]) -> None:
    Payment.objects.update(**wrong)

    assert found() == named
    assert found(hours=1) == named


def test_a_payment_that_is_under_way_is_in_order(alice: User, sandbox: RunningSandbox) -> None:
    pay(sandbox, start(alice))

    assert found() == set()

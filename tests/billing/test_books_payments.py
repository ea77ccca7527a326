"""The books notice when a payment and the ledger tell different stories."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.db.models import F

from accounts.models import User
from billing import books, ledger, payments, refunds, staff_grants
from billing.models import Dispute, Payment, PaymentAttempt, Refund, StaffGrant
from core.ids import new_id
from tests.billing.buying import bought, pay, start
from tests.billing.given import topped_up
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
    assert {finding.row for finding in books.run().findings} == {f"payment {refunded.pk}"}


def test_a_payment_that_is_under_way_is_in_order(alice: User, sandbox: RunningSandbox) -> None:
    pay(sandbox, start(alice))

    assert found() == set()


def test_a_refund_that_the_books_lack_is_named(refunded: Payment) -> None:
    Refund.objects.update(amount=F("amount") + 1)

    rows = {(finding.check, finding.row) for finding in books.run().findings}

    assert ("refunds_recorded", f"refund {Refund.objects.get().pk}") in rows
    assert ("gateway_money", "gateway razorpay INR") in rows


def test_a_top_up_that_is_not_on_its_wallet_is_named(alice: User) -> None:
    topped_up(alice, 50_000)
    payment = payments.start(user=alice, item="wallet:calls:50000", gateway="wallet").payment
    assert found() == set()

    Payment.objects.filter(pk=payment.pk).update(wallet_kind="primary")

    assert ("payment_grants", f"payment {payment.pk}") in {(one.check, one.row) for one in books.run().findings}
    Payment.objects.filter(pk=payment.pk).update(wallet_kind="calls")
    PaymentAttempt.objects.update(amount=49_999)
    assert {"captures_recorded", "payment_figures"} == found()


def test_a_grant_by_staff_with_another_amount_is_named(alice: User, finance: User) -> None:
    given = staff_grants.give(grant_id=new_id(), user_id=alice.pk, amount=5, reason="late", actor=finance)

    StaffGrant.objects.update(amount=6)

    assert [(one.check, one.row) for one in books.run().findings] == [("staff_grants", f"staff grant {given.pk}")]


def test_every_check_has_its_corruption_in_a_test() -> None:
    """A rule that nobody has seen fail may be one that cannot."""
    planted = "".join(path.read_text() for path in Path(__file__).parents[1].rglob("test_*.py"))

    assert [check.name for check in books.all_checks() if f'"{check.name}"' not in planted] == []

"""Paying from one's own wallet: created, debited and handed over in one transaction, or not at all."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_django import Settings

from accounts.models import User
from audit.models import AuditLog
from billing import payments, reconcile, refunds
from billing.errors import InsufficientFunds
from billing.gateways.razorpay import Razorpay
from billing.models import Break, Debt, GatewayCursor, LedgerTransaction, Payment, Refund
from core.errors import Conflict
from core.models import IdempotencyKey
from notifications.models import Mail
from tests import books
from tests.billing.buying import available, bought, fresh, pay, start, together
from tests.billing.given import house, topped_up, wallet
from tests.people import api
from tests.sandbox.process import RunningSandbox

pytestmark = pytest.mark.django_db

CALLS = "wallet:calls:200000"


def post(user: User, key: str = "k", **body: Any) -> Any:
    return api(user, **{"Idempotency-Key": key}).post("/api/v1/payments", {"gateway": "wallet", **body})


def balance(user: User, kind: str = "primary") -> int:
    return wallet(user, kind).balance or 0


def test_money_moves_from_primary_to_calls_at_once(alice: User, sandbox: RunningSandbox) -> None:
    topped_up(alice, 500_000)

    told = post(alice, item=CALLS)

    assert told.status_code == 201
    body = told.json()
    assert (body["status"], body["received"], body["client"], body["checkout_url"]) == (
        "succeeded",
        200_000,
        None,
        None,
    )
    assert (balance(alice), balance(alice, "calls")) == (300_000, 200_000)
    assert house("sales", "NGN") == 0
    assert Mail.objects.filter(user=alice, name="payment-confirmation").count() == 1
    payment = Payment.objects.get()
    assert (payment.next_at, payment.settled_at is not None) == (None, True)
    actions = set(AuditLog.objects.filter(entity_id=str(payment.pk)).values_list("action", flat=True))
    assert actions >= {"payment.created", "payment.started", "payment.succeeded", "wallet.captured"}
    assert sandbox.requests(provider="razorpay") == []
    books.check()


def test_credits_are_bought_from_a_wallet_in_their_currency(alice: User) -> None:
    topped_up(alice, 2_000, unit="USD")

    body = api(alice, **{"Idempotency-Key": "k"}).post(
        "/api/v1/credits/purchase", {"package": "basic", "gateway": "wallet", "currency": "USD"}
    )

    assert (body.status_code, body.json()["status"], body.json()["amount"]) == (201, "succeeded", 999)
    assert available(alice) == 105
    assert house("sales", "USD") == 999
    books.check()


def test_too_little_is_402_and_leaves_no_trace(alice: User) -> None:
    topped_up(alice, 199_999)

    refused = post(alice, item=CALLS)

    assert (refused.status_code, refused.json()["error"], refused.json()["charged"]) == (
        402,
        "insufficient_funds",
        "none",
    )
    [figures] = refused.json()["details"]
    assert (figures["required"], figures["available"], figures["unit"]) == (200_000, 199_999, "NGN")
    assert not Payment.objects.exists()
    assert not IdempotencyKey.objects.exclude(status=None).exists()
    assert not Mail.objects.filter(name="payment-confirmation").exists()
    assert balance(alice) == 199_999
    books.check()
    topped_up(alice, 1)
    assert post(alice, item=CALLS).status_code == 201  # the same key, once there is enough
    books.check()


def test_a_currency_without_a_wallet_is_402(alice: User) -> None:
    refused = post(alice, item="package:BASIC", currency="USD")

    assert (refused.status_code, refused.json()["error"]) == (402, "insufficient_funds")


def test_what_is_not_sold_in_the_wallets_currency_is_refused(alice: User) -> None:
    topped_up(alice, 500_000)

    assert post(alice, item="package:BASIC").json()["error"] == "currency_not_sold"
    assert post(alice, "2", item="package:BASIC", currency="INR").json()["error"] == "currency_not_sold"
    assert not Payment.objects.exists()


def test_a_wallet_cannot_fill_itself(alice: User) -> None:
    topped_up(alice, 500_000)

    refused = post(alice, item="wallet:primary:200000")

    assert (refused.status_code, refused.json()["details"][0]["code"]) == (400, "fills_itself")
    assert balance(alice) == 500_000


def test_the_same_key_buys_once_and_another_one_again(alice: User) -> None:
    topped_up(alice, 500_000)

    first, again = post(alice, item=CALLS), post(alice, item=CALLS)

    assert again.json() == first.json()
    assert again["Idempotent-Replayed"] == "true"
    assert balance(alice) == 300_000
    assert post(alice, "2", item=CALLS).json()["id"] != first.json()["id"]
    assert balance(alice) == 100_000
    books.check()


def test_a_debt_from_a_lost_dispute_blocks_it(alice: User) -> None:
    topped_up(alice, 500_000)
    Debt.objects.create(
        user=alice,
        unit="CREDIT",
        amount=5,
        remaining=5,
        cause="x",
        is_blocking=True,
        subject_type="t",
        subject_id=alice.pk,
    )

    refused = post(alice, item=CALLS)

    assert (refused.status_code, refused.json()["error"]) == (402, "debt_outstanding")
    assert balance(alice) == 500_000


def test_a_refund_returns_to_the_wallet(alice: User, finance: User) -> None:
    topped_up(alice, 500_000)
    payment = payments.start(user=alice, item=CALLS, gateway="wallet").payment

    refund = refunds.request(payment_id=payment.pk, amount=50_000, reason="asked", actor=finance)

    assert (refund.state, refund.ref) == ("processed", str(refund.pk))
    assert (balance(alice), balance(alice, "calls")) == (350_000, 150_000)
    refunds.request(payment_id=payment.pk, amount=150_000, reason="asked", actor=finance)
    assert (fresh(payment).state, balance(alice), balance(alice, "calls")) == ("refunded", 500_000, 0)
    books.check()


def test_a_refund_that_died_before_the_books_is_recorded_once(alice: User, finance: User) -> None:
    topped_up(alice, 500_000)
    payment = payments.start(user=alice, item=CALLS, gateway="wallet").payment
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refunds, "record", lambda *args, **more: None)
        refunds.request(payment_id=payment.pk, amount=50_000, reason="asked", actor=finance)
    assert Refund.objects.get().state == "requested"

    Refund.objects.update(next_at="2020-01-01T00:00Z", lease_until="2020-01-01T00:00Z")
    refunds.send_due()
    refunds.send_due()

    assert Refund.objects.get().state == "processed"
    assert balance(alice) == 350_000
    books.check()


@pytest.mark.django_db(transaction=True)
def test_twenty_at_once_on_money_for_three_buy_three(alice: User) -> None:
    topped_up(alice, 650_000)

    results = together(*[lambda: payments.start(user=alice, item=CALLS, gateway="wallet").payment for _ in range(20)])

    paid = [result for result in results if isinstance(result, Payment)]
    assert len(paid) == 3
    assert all(isinstance(result, InsufficientFunds) for result in results if not isinstance(result, Payment))
    assert Payment.objects.count() == 3
    assert (balance(alice), balance(alice, "calls")) == (50_000, 600_000)
    assert LedgerTransaction.objects.filter(kind="spend").count() == 3
    books.check()


@pytest.mark.django_db(transaction=True)
def test_one_key_twenty_times_at_once_buys_once(alice: User, settings: Settings) -> None:
    settings.RATELIMIT_ENABLE = False
    topped_up(alice, 650_000)

    answers = together(*[lambda: post(alice, item=CALLS).status_code for _ in range(20)])

    assert set(answers) <= {201, 409}
    assert Payment.objects.count() == 1
    assert balance(alice, "calls") == 200_000
    books.check()


def test_an_open_payment_elsewhere_for_the_same_is_closed(
    alice: User, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Razorpay, "currencies", ("INR", "NGN"))
    topped_up(alice, 500_000)
    older = start(alice, CALLS, currency="NGN")

    newer = payments.start(user=alice, item=CALLS, gateway="wallet").payment

    assert (fresh(older).state, fresh(older).superseded_by_id, newer.state) == ("canceled", newer.pk, "succeeded")
    pay(sandbox, older)  # paid all the same
    payments.refresh(older)
    assert Break.objects.get().kind == "paid_twice"
    books.check()


def test_one_that_was_just_paid_elsewhere_is_not_paid_again(
    alice: User, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Razorpay, "currencies", ("INR", "NGN"))
    topped_up(alice, 500_000)
    older = start(alice, CALLS, currency="NGN")
    pay(sandbox, older)

    with pytest.raises(Conflict) as refused:
        payments.start(user=alice, item=CALLS, gateway="wallet")

    assert refused.value.charged == "settled"
    assert fresh(older).state == "succeeded"
    assert (balance(alice), balance(alice, "calls")) == (500_000, 200_000)
    books.check()


def test_nobody_is_asked_about_it(alice: User, sandbox: RunningSandbox) -> None:
    topped_up(alice, 500_000)
    payment = payments.start(user=alice, item=CALLS, gateway="wallet").payment

    assert payments.refresh(payment).state == "succeeded"
    assert payments.verify(payment).state == "succeeded"
    reconcile.walk()

    assert not GatewayCursor.objects.filter(gateway="wallet").exists()
    forged = {"razorpay_order_id": "o", "razorpay_payment_id": "p", "razorpay_signature": "s"}
    refused = api(alice).post(f"/api/v1/payments/{payment.pk}/verify", forged)
    assert (refused.status_code, refused.json()["error"], refused.json()["charged"]) == (
        400,
        "signature_invalid",
        "settled",
    )
    books.check()


def test_strangers_do_not_see_it(alice: User, bob: User) -> None:
    topped_up(alice, 500_000)
    payment = payments.start(user=alice, item=CALLS, gateway="wallet").payment

    assert api(bob).get(f"/api/v1/payments/{payment.pk}").status_code == 404
    assert api(bob).get(f"/api/v1/wallets/{wallet(alice, 'calls').pk}").status_code == 404


def test_credits_bought_elsewhere_are_not_touched(alice: User, sandbox: RunningSandbox) -> None:
    topped_up(alice, 500_000)
    bought(sandbox, alice)

    post(alice, item=CALLS)

    assert available(alice) == 105
    books.check()

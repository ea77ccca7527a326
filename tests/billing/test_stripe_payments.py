"""Payments through Stripe, from the client's request to the books: both flows, refusals, faults, refunds, disputes."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from django.db.models.functions import Now
from django.test import Client
from pytest_django import Settings

from accounts.models import User
from billing import checkouts, disputes, payments, reconcile, refunds
from billing.gateways.base import Unclear
from billing.models import (
    Break,
    Dispute,
    GatewayCursor,
    LedgerTransaction,
    Payment,
    PaymentAttempt,
    PaymentStart,
    Refund,
)
from notifications.models import Mail
from tests import books
from tests.billing.buying import available, fresh, together
from tests.billing.striping import bought, charge_of, deliver, logged, pay, priced, ref_of, start
from tests.people import api
from tests.sandbox.process import RunningSandbox, wait_for

pytestmark = pytest.mark.django_db
APP = "https://app.example.com"
BODY = {"item": "package:BASIC", "gateway": "stripe", "currency": "USD"}


@pytest.fixture(autouse=True)
def origins(settings: Settings) -> None:
    settings.ALLOWED_ORIGINS = [APP]


def post(user: User, path: str, body: Any = None, key: str = "a") -> Any:
    return api(user, **{"Idempotency-Key": key}).post(f"/api/v1/{path}", body or {})


def due(payment: Payment) -> None:
    Payment.objects.filter(pk=payment.pk).update(next_at=Now())


def walk() -> None:
    GatewayCursor.objects.update(next_at=Now())
    reconcile.walk()


# --- The two flows --------------------------------------------------------------------------------------------------


def test_the_client_pays_with_stripes_library(alice: User, sandbox: RunningSandbox) -> None:
    response = post(alice, "payments", BODY)

    assert response.status_code == 201
    body = response.json()
    assert (body["amount"], body["currency"], body["status"], body["checkout_url"]) == (999, "USD", "pending", None)
    assert body["client"]["publishable_key"] == sandbox.keys["STRIPE_PUBLISHABLE_KEY"]
    assert body["client"]["client_secret"].startswith(f"{body['client']['payment_intent']}_secret_")
    sandbox.stripe_checkout(body["client"]["payment_intent"])
    paid = post(alice, f"payments/{body['id']}/verify")
    assert (paid.status_code, paid.json()["status"], paid.json()["client"]) == (200, "succeeded", None)
    assert available(alice) == 105
    assert Mail.objects.filter(name="payment-confirmation").count() == 1
    books.check()


def test_a_browser_pays_on_stripes_page_and_comes_back(alice: User, sandbox: RunningSandbox) -> None:
    body = post(alice, "payments", BODY | {"flow": "hosted", "return_url": f"{APP}/paid?tab=1"}).json()

    assert body["checkout_url"].startswith(f"{sandbox.stripe_url}/checkout/cs_test_")
    assert body["client"] is None
    page = requests.post(f"{body['checkout_url']}/pay", timeout=60, allow_redirects=False)
    back = Client().get(urlsplit(page.headers["location"]).path)

    assert (back.status_code, back["Location"]) == (303, f"{APP}/paid?tab=1&payment={body['id']}")
    assert Payment.objects.get(pk=body["id"]).state == "succeeded"
    assert available(alice) == 105
    books.check()


def test_who_leaves_the_page_comes_back_unpaid(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice, flow="hosted", return_url=f"{APP}/paid")

    handed = pay(sandbox, payment, "abandon")
    back = Client().get(urlsplit(handed["url"]).path)

    assert back["Location"] == f"{APP}/paid?payment={payment.pk}"
    assert fresh(payment).state == "pending"
    our_page = urlsplit(checkouts.page_url(payment.pk)).path
    assert Client().get(our_page)["Location"] == checkouts.url_of(checkouts.payment(payment.pk))


def test_three_d_secure_is_part_of_paying(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)

    pay(sandbox, payment, card="4000002500003155")
    assert payments.verify(payment).state == "pending"
    pay(sandbox, payment, "refuse")
    assert payments.verify(payment).state == "pending"
    pay(sandbox, payment, card="4000002500003155")
    pay(sandbox, payment, "authenticate")

    assert payments.verify(payment).state == "succeeded"
    assert sorted(PaymentAttempt.objects.values_list("state", flat=True)) == ["captured", "failed"]
    assert Mail.objects.filter(name="payment-failed").count() == 1
    books.check()


def test_another_flow_is_another_start_of_the_same_payment(alice: User, sandbox: RunningSandbox) -> None:
    first = post(alice, "payments", BODY, key="a").json()

    hosted = post(alice, "payments", BODY | {"flow": "hosted"}, key="b").json()
    again = post(alice, "payments", BODY, key="c").json()

    assert first["id"] == hosted["id"] == again["id"]
    assert hosted["checkout_url"].startswith(f"{sandbox.stripe_url}/checkout/cs_test_")
    assert again["client"]["payment_intent"] != first["client"]["payment_intent"]
    sandbox.stripe_checkout(first["client"]["payment_intent"])  # whichever is paid counts
    assert payments.refresh(Payment.objects.get()).state == "succeeded"
    sandbox.stripe_checkout(again["client"]["payment_intent"])  # and what is paid twice goes back
    payments.refresh(Payment.objects.get())
    refunds.send_due()
    refund = Refund.objects.get()
    assert (refund.origin, refund.state, refund.amount) == ("surplus", "processed", 999)
    assert available(alice) == 105
    books.check()


def test_without_keys_stripe_is_not_offered(alice: User, sandbox: RunningSandbox, settings: Settings) -> None:
    names = [row["name"] for row in api().get("/api/v1/payments/pricing").json()["gateways"]]
    assert "stripe" in names
    settings.STRIPE_SECRET_KEY = ""

    refused = post(alice, "payments", BODY)

    assert (refused.status_code, refused.json()["error"]) == (503, "gateway_unavailable")
    assert refused.json()["charged"] == "none"
    assert not Payment.objects.exists()


def test_rupees_are_not_taken_by_stripe(alice: User, sandbox: RunningSandbox) -> None:
    refused = post(alice, "payments", BODY | {"currency": "INR"})

    assert (refused.status_code, refused.json()["error"]) == (400, "currency_not_sold")
    assert not Payment.objects.exists()


# --- Faults ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flow", ["client", "hosted"])
@pytest.mark.parametrize("mode", ["refuse", "truncated"])
def test_a_lost_answer_is_resumed_by_the_same_key(alice: User, sandbox: RunningSandbox, flow: str, mode: str) -> None:
    sandbox.fault("stripe", mode, when="after", method="POST")

    lost = post(alice, "payments", BODY | {"flow": flow})
    again = post(alice, "payments", BODY | {"flow": flow})

    assert (lost.status_code, lost.json()["charged"]) == (502, "unknown")
    assert again.status_code == 201
    payment = Payment.objects.get()
    pay(sandbox, payment)
    assert payments.refresh(payment).state == "succeeded"
    assert available(alice) == 105
    books.check()


def test_a_start_whose_answer_was_lost_is_found_by_the_poller(alice: User, sandbox: RunningSandbox) -> None:
    sandbox.fault("stripe", "refuse", when="after", method="POST")
    post(alice, "payments", BODY)
    payment = Payment.objects.get()
    assert PaymentStart.objects.get().ref is None

    found = payments.refresh(payment)

    assert found.state == "pending"
    pay(sandbox, payment)
    assert payments.refresh(payment).state == "succeeded"
    books.check()


def test_a_canceled_payment_cannot_be_paid_any_more(alice: User, sandbox: RunningSandbox) -> None:
    for flow in ("client", "hosted"):
        payment = start(alice, flow=flow)
        assert payments.cancel(payment).state == "canceled"
        assert "error" in pay(sandbox, payment)
    assert available(alice) == 5


def test_canceling_what_was_paid_meanwhile_settles_it(
    alice: User, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = start(alice)
    real, looks = payments.refresh, []

    def paid_after_the_first_look(*args: Any, **more: Any) -> Payment:
        seen = real(*args, **more)
        looks.append(seen.state)
        if len(looks) == 1:
            pay(sandbox, payment)
        return seen

    monkeypatch.setattr(payments, "refresh", paid_after_the_first_look)

    refused = post(alice, f"payments/{payment.pk}/cancel")

    assert (refused.status_code, refused.json()["error"]) == (409, "payment_settled")
    assert looks == ["pending", "succeeded"]
    assert available(alice) == 105
    books.check()


@pytest.mark.parametrize(
    ("amount", "state", "credits"),
    [(5_005, "pending", 5), (5_006, "succeeded", 105), (5_001, "pending", 5), (5_003, "succeeded", 105)],
)
def test_what_the_magic_amounts_leave(
    alice: User, sandbox: RunningSandbox, amount: int, state: str, credits: int
) -> None:
    payment = start(alice, priced(amount))
    pay(sandbox, payment)

    assert payments.refresh(payment).state == state

    assert available(alice) == credits
    kinds = {5_005: ["underpaid"], 5_006: ["overpaid"]}.get(amount, [])
    assert list(Break.objects.values_list("kind", flat=True)) == kinds
    books.check()


def test_what_is_processing_is_paid_later(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice, priced(5_002), flow="hosted")
    pay(sandbox, payment)
    assert payments.refresh(payment).state == "pending"

    sandbox.advance(30)
    event = "checkout.session.async_payment_succeeded"
    [body] = wait_for(lambda: logged(sandbox, event), event)

    assert deliver(sandbox, body) == 200
    assert payments.refresh(payment).state == "succeeded"
    books.check()


# --- With every webhook lost ----------------------------------------------------------------------------------------


def test_purchase_refund_and_dispute_come_in_without_a_single_webhook(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice, flow="hosted")
    walk()
    pay(sandbox, payment)
    due(payment)
    reconcile.poll()
    assert fresh(payment).state == "succeeded"

    sandbox.stripe_dashboard("charges", charge_of(payment), "refund", amount="300")
    walk()
    assert (fresh(payment).state, fresh(payment).refunded, available(alice)) == ("partially_refunded", 300, 75)
    dispute = sandbox.stripe_dashboard("charges", charge_of(payment), "dispute")
    walk()
    assert (fresh(payment).state, available(alice)) == ("disputed", 5)
    books.check()
    sandbox.stripe_dashboard("disputes", dispute["id"], "win")
    walk()
    assert (fresh(payment).state, available(alice)) == ("partially_refunded", 75)
    assert Dispute.objects.get().state == "won"
    assert not Break.objects.exists()
    books.check()


def test_a_payment_that_only_the_walk_sees_is_settled(alice: User, sandbox: RunningSandbox) -> None:
    for flow in ("client", "hosted"):
        payment = start(alice, flow=flow)
        pay(sandbox, payment)
        walk()
        assert fresh(payment).state == "succeeded"
    assert available(alice) == 205
    books.check()


def test_a_lost_dispute_takes_the_money_and_the_credits(alice: User, sandbox: RunningSandbox) -> None:
    payment = bought(sandbox, alice)
    dispute = sandbox.stripe_dashboard("charges", charge_of(payment), "dispute")
    payments.refresh(payment)
    sandbox.stripe_dashboard("disputes", dispute["id"], "lose")

    payments.refresh(payment)

    assert (fresh(payment).state, fresh(payment).lost, fresh(payment).taken) == ("refunded", 999, 100)
    assert available(alice) == 5
    assert disputes.tend() == 0
    books.check()


def test_money_that_is_not_ours_is_filed(alice: User, sandbox: RunningSandbox) -> None:
    walk()
    headers = {"Authorization": f"Bearer {sandbox.keys['STRIPE_SECRET_KEY']}"}
    asked = {"amount": 500, "currency": "usd", "confirm": "true", "payment_method": "pm_card_visa"}
    requests.post(f"{sandbox.stripe_url}/v1/payment_intents", data=asked, headers=headers, timeout=60)

    walk()
    walk()

    [filed] = Break.objects.all()
    assert (filed.kind, filed.amount, filed.currency) == ("unknown_payment", 500, "USD")
    books.check()


# --- Our own refunds ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("amount", "credits"), [(999, 5), (500, 55)])
def test_staff_refunds_in_full_and_in_part(alice: User, sandbox: RunningSandbox, amount: int, credits: int) -> None:
    payment = bought(sandbox, alice)

    refund = refunds.request(payment_id=payment.pk, amount=amount, reason="asked", actor=None)

    assert (refund.state, str(refund.ref)[:3]) == ("processed", "re_")
    assert available(alice) == credits
    assert payments.refresh(payment).refunded == amount
    books.check()


def test_a_refund_whose_answer_was_lost_is_sent_once(alice: User, sandbox: RunningSandbox) -> None:
    payment = bought(sandbox, alice)
    sandbox.fault("stripe", "refuse", when="after", method="POST", path="/refunds")

    refund = refunds.request(payment_id=payment.pk, amount=999, reason="asked", actor=None)
    assert refund.state == "requested"
    Refund.objects.update(next_at=Now(), lease_until=None)
    refunds.send_due()

    assert Refund.objects.get().state == "processed"
    posted = [one for one in sandbox.requests(provider="stripe", method="POST") if one["path"].endswith("/refunds")]
    assert len(posted) == 1
    books.check()


def test_a_refund_that_bounces_later_comes_back(alice: User, sandbox: RunningSandbox) -> None:
    payment = bought(sandbox, alice)
    refund = refunds.request(payment_id=payment.pk, amount=999, reason="asked", actor=None)
    sandbox.stripe_dashboard("refunds", str(refund.ref), "fail")

    walk()

    assert Refund.objects.get().state == "failed"
    assert (fresh(payment).state, available(alice)) == ("succeeded", 105)
    assert Break.objects.get().kind == "refund_failed"
    books.check()


# --- All at once ----------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_fifty_verifies_webhooks_and_pollers_grant_once(alice: User, sandbox: RunningSandbox) -> None:
    from inbox import deliveries as inbox

    payment = start(alice)
    pay(sandbox, payment)
    bodies = [*logged(sandbox, "payment_intent.succeeded"), *logged(sandbox, "payment_intent.created")]
    due(payment)

    verifies = [lambda: payments.verify(payment) for _ in range(20)]
    hooks = [lambda body=body: deliver(sandbox, body) for body in bodies for _ in range(10)]
    workers = [inbox.handle_due for _ in range(5)]
    pollers = [reconcile.poll for _ in range(5)]
    together(*verifies, *hooks, *workers, *pollers)
    inbox.handle_due()

    assert fresh(payment).state == "succeeded"
    assert available(alice) == 105
    assert LedgerTransaction.objects.filter(key=f"payment:{payment.pk}:grant").count() == 1
    assert LedgerTransaction.objects.filter(subject_id=payment.pk).count() == 2
    assert Mail.objects.filter(name="payment-confirmation").count() == 1
    books.check()


def test_no_call_leaves_inside_a_transaction(
    alice: User, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import connection

    from core import http

    depth = len(connection.savepoint_ids)  # the test's own
    real, inside = http.call, []

    def call(*args: Any, **more: Any) -> Any:
        inside.append(len(connection.savepoint_ids) > depth)
        return real(*args, **more)

    monkeypatch.setattr(http, "call", call)
    payment = bought(sandbox, alice)
    refunds.request(payment_id=payment.pk, amount=100, reason="asked", actor=None)
    payments.cancel(start(alice, "package:PREMIUM"))
    walk()

    assert inside
    assert not any(inside)


def test_an_unclear_answer_to_verify_says_so(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    pay(sandbox, payment)
    sandbox.fault("stripe", "500")

    unsure = post(alice, f"payments/{payment.pk}/verify")

    assert (unsure.status_code, unsure.json()["charged"]) == (502, "unknown")
    sandbox.fault("stripe", "wrongtype")
    with pytest.raises(Unclear):
        payments.refresh(payment)
    assert post(alice, f"payments/{payment.pk}/verify").json()["status"] == "succeeded"
    assert ref_of(payment).startswith("pi_")
    books.check()

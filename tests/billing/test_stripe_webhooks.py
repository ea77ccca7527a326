"""Stripe's webhooks: forged, stale, doubled, early, out of order, about unknown things. They only make us look."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from accounts.models import User
from billing import payments
from billing.gateways.stripe import WEBHOOK_AGE_S, verify_webhook
from billing.models import LedgerTransaction, PaymentAttempt, PaymentStart
from billing.webhooks import stripe as webhooks
from inbox import deliveries
from inbox.deliveries import Outcome, Verdict
from inbox.models import Delivery
from notifications.models import Mail
from tests import books
from tests.billing.buying import available, fresh, together
from tests.billing.striping import (
    bought,
    charge_of,
    deliver,
    deliver_and_handle,
    logged,
    pay,
    priced,
    ref_of,
    sign,
    start,
)
from tests.sandbox.process import RunningSandbox

pytestmark = pytest.mark.django_db
BODY = b'{"id":"evt_1","object":"event","type":"invoice.paid"}'
T = 1763700000
V1 = "6e08952a8d6d036e520459ddc2654d006dd3696a8dae62678bc2114f77ad5da9"


@pytest.mark.parametrize(
    ("header", "verdict"),
    [
        (f"t={T},v1={V1}", Verdict.VALID),
        (f"t={T},v1={'0' * 64},v1={V1}", Verdict.VALID),
        (f"t={T},v0=abc,v1={V1}", Verdict.VALID),
        (f"t={T}, v1={V1}", Verdict.VALID),
        (f"t={T},v1={'0' * 64}", Verdict.INVALID),
        (f"t={T},v0={V1}", Verdict.INVALID),
        (f"t={T + 1},v1={V1}", Verdict.INVALID),
        (f"t={T},t={T},v1={V1}", Verdict.INVALID),
        (f"v1={V1}", Verdict.INVALID),
        (f"t=,v1={V1}", Verdict.INVALID),
        (f"t=٣,v1={V1}", Verdict.INVALID),
        (f"t={'9' * 40},v1={V1}", Verdict.INVALID),
        (f"t={T},v1=é", Verdict.INVALID),
        ("", Verdict.INVALID),
        (",,=,", Verdict.INVALID),
    ],
)
def test_the_published_vector_is_valid_on_its_own_time_only(settings: Settings, header: str, verdict: Verdict) -> None:
    settings.STRIPE_WEBHOOK_SECRET = "whsec_example"

    assert verify_webhook({"Stripe-Signature": header}, BODY, now=T) is verdict
    assert verify_webhook({"stripe-signature": header}, BODY + b" ", now=T) is Verdict.INVALID


def test_an_old_time_is_stale_and_so_is_a_coming_one(settings: Settings) -> None:
    settings.STRIPE_WEBHOOK_SECRET = "whsec_example"
    headers = {"Stripe-Signature": f"t={T},v1={V1}"}

    for now, verdict in (
        (T + WEBHOOK_AGE_S, Verdict.VALID),
        (T + WEBHOOK_AGE_S + 1, Verdict.STALE),
        (T - WEBHOOK_AGE_S - 1, Verdict.STALE),
    ):
        assert verify_webhook(headers, BODY, now=now) is verdict
    settings.STRIPE_WEBHOOK_SECRET = ""
    assert verify_webhook(headers, BODY, now=T) is Verdict.NOT_CONFIGURED


def test_what_the_sdk_signs_we_take(sandbox: RunningSandbox) -> None:
    assert verify_webhook({"stripe-signature": sign(sandbox, BODY)}, BODY, now=int(time.time())) is Verdict.VALID


@pytest.mark.parametrize(
    ("flow", "event"),
    [
        ("client", "payment_intent.succeeded"),
        ("hosted", "payment_intent.succeeded"),
        ("hosted", "checkout.session.completed"),
    ],
)
def test_a_webhook_pays_for_the_customer_who_closed_the_tab(
    alice: User, sandbox: RunningSandbox, flow: str, event: str
) -> None:
    payment = start(alice, flow=flow)
    pay(sandbox, payment)

    deliver_and_handle(sandbox, event)

    assert fresh(payment).state == "succeeded"
    assert Delivery.objects.get().state == "processed"
    assert available(alice) == 105
    books.check()


def test_forged_and_unsigned_webhooks_are_refused_and_not_stored(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    pay(sandbox, payment)
    [body] = logged(sandbox, "payment_intent.succeeded")

    assert deliver(sandbox, body, f"t={int(time.time())},v1={'0' * 64}") == 400
    assert deliver(sandbox, body.replace(b"succeeded", b"canceled"), sign(sandbox, body)) == 400
    assert deliver(sandbox, body, "") == 400
    assert deliver(sandbox, body[:-20], sign(sandbox, body[:-20])) == 400  # truncated, though signed

    assert not Delivery.objects.exists()
    assert fresh(payment).state == "pending"


def test_a_stale_webhook_is_only_a_hint_and_a_hint_is_enough(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    pay(sandbox, payment)
    [body] = logged(sandbox, "payment_intent.succeeded")

    assert deliver(sandbox, body, sign(sandbox, body, int(time.time()) - 3600)) == 200
    assert Delivery.objects.get().is_stale
    deliveries.handle_due()

    assert fresh(payment).state == "succeeded"
    assert available(alice) == 105
    books.check()


def test_ten_megabytes_are_not_read(sandbox: RunningSandbox) -> None:
    body = json.dumps({"type": "x", "pad": "x" * (10 << 20)}).encode()

    assert deliver(sandbox, body) == 413
    assert not Delivery.objects.exists()


def test_a_signed_lie_moves_nothing(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    told = {"id": ref_of(payment), "status": "succeeded", "amount_received": 999}
    body = json.dumps({"type": "payment_intent.succeeded", "data": {"object": told}}).encode()

    assert deliver(sandbox, body) == 200
    deliveries.handle_due()

    assert fresh(payment).state == "pending"
    assert Delivery.objects.get().state == "processed"
    assert available(alice) == 5


@pytest.mark.django_db(transaction=True)
def test_the_same_webhook_fifty_times_at_once(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    pay(sandbox, payment)
    [body] = logged(sandbox, "payment_intent.succeeded")

    answers = together(*[lambda: deliver(sandbox, body) for _ in range(50)])
    together(*[deliveries.handle_due for _ in range(4)])

    assert answers == [200] * 50
    row = Delivery.objects.get()
    assert (row.times_received, row.state) == (50, "processed")
    assert available(alice) == 105
    assert LedgerTransaction.objects.filter(subject_id=payment.pk).count() == 2
    assert Mail.objects.filter(name="payment-confirmation").count() == 1
    books.check()


def test_news_out_of_order_never_moves_a_payment_back(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    pay(sandbox, payment, card="4000000000000002")
    pay(sandbox, payment)

    for name in ("payment_intent.succeeded", "payment_intent.payment_failed"):
        deliver_and_handle(sandbox, name)

    assert fresh(payment).state == "succeeded"
    assert sorted(PaymentAttempt.objects.values_list("state", flat=True)) == ["captured", "failed"]
    assert not Mail.objects.filter(name="payment-failed").exists()
    books.check()


def test_a_webhook_that_beats_our_own_note_finds_its_payment_by_our_reference(
    alice: User, sandbox: RunningSandbox
) -> None:
    payment = start(alice, flow="hosted")
    pay(sandbox, payment)
    PaymentStart.objects.update(ref=None, url="")
    type(payment).objects.update(state="created")

    deliver_and_handle(sandbox, "payment_intent.succeeded")

    assert fresh(payment).state == "succeeded"
    books.check()


@pytest.mark.parametrize(
    ("event", "outcome"),
    [
        ({"type": "customer.created", "data": {"object": {"id": "cus_1"}}}, Outcome.IGNORED),
        ({"type": "payment_intent.created", "data": {"object": {"id": "pi_1"}}}, Outcome.IGNORED),
        ({}, Outcome.IGNORED),
        ({"type": ["payment_intent.succeeded"]}, Outcome.IGNORED),
        ({"type": "payment_intent.succeeded"}, Outcome.UNMATCHED),
        ({"type": "payment_intent.succeeded", "data": []}, Outcome.UNMATCHED),
        ({"type": "payment_intent.succeeded", "data": {"object": {"id": "pi_nobody"}}}, Outcome.UNMATCHED),
        ({"type": "payment_intent.succeeded", "data": {"object": {"id": "../refunds"}}}, Outcome.UNMATCHED),
        ({"type": "checkout.session.completed", "data": {"object": {"id": "cs_nobody"}}}, Outcome.UNMATCHED),
        ({"type": "charge.refunded", "data": {"object": {"payment_intent": None}}}, Outcome.UNMATCHED),
        ({"type": "refund.failed", "data": {"object": {"id": 7}}}, Outcome.UNMATCHED),
        ({"type": "charge.dispute.closed", "data": None}, Outcome.UNMATCHED),
    ],
)
def test_unknown_and_misshapen_events_do_no_harm(
    sandbox: RunningSandbox, event: dict[str, Any], outcome: Outcome
) -> None:
    assert webhooks.handle(event, stale=False) is outcome


def test_a_webhook_while_stripe_is_away_is_tried_again(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    pay(sandbox, payment)
    sandbox.fault("stripe", "500")

    deliver_and_handle(sandbox, "payment_intent.succeeded")
    assert Delivery.objects.get().state == "failed"
    Delivery.objects.update(next_at="2020-01-01T00:00Z")
    deliveries.handle_due()

    assert Delivery.objects.get().state == "processed"
    assert fresh(payment).state == "succeeded"


def test_webhooks_of_a_repeated_amount_credit_once(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice, priced(5_003))
    pay(sandbox, payment)

    deliver_and_handle(sandbox, "payment_intent.succeeded")

    assert Delivery.objects.get().times_received == 5
    assert available(alice) == 105
    books.check()


def test_without_a_secret_there_is_no_door(settings: Settings) -> None:
    settings.STRIPE_WEBHOOK_SECRET = ""
    assert Client().post("/api/v1/webhooks/stripe", data=b"{}", content_type="application/json").status_code == 404


@pytest.mark.parametrize("event", ["charge.refunded", "refund.created"])
def test_a_refund_in_stripes_dashboard_comes_in_by_webhook(alice: User, sandbox: RunningSandbox, event: str) -> None:
    payment = bought(sandbox, alice)
    sandbox.stripe_dashboard("charges", charge_of(payment), "refund", amount="500")

    deliver_and_handle(sandbox, event)

    settled = fresh(payment)
    assert (settled.state, settled.refunded, settled.taken) == ("partially_refunded", 500, 50)
    assert available(alice) == 55
    books.check()


def test_a_dispute_can_be_the_first_we_hear_of_a_payment(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice, flow="hosted")
    pay(sandbox, payment, card="4000000000000259")

    deliver_and_handle(sandbox, "charge.dispute.created")

    assert fresh(payment).state == "disputed"
    assert available(alice) == 5
    books.check()


def test_a_dispute_is_followed_to_its_end(alice: User, sandbox: RunningSandbox) -> None:
    payment = bought(sandbox, alice)
    dispute = sandbox.stripe_dashboard("charges", charge_of(payment), "dispute")
    sandbox.stripe_dashboard("disputes", dispute["id"], "review")
    sandbox.stripe_dashboard("disputes", dispute["id"], "lose")

    for event in ("closed", "updated", "funds_withdrawn", "created"):
        deliver_and_handle(sandbox, f"charge.dispute.{event}")

    assert (fresh(payment).state, fresh(payment).lost) == ("refunded", 999)
    assert available(alice) == 5
    books.check()


def test_an_expired_session_is_only_looked_at(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice, flow="hosted")
    payments.cancel(payment)

    deliver_and_handle(sandbox, "checkout.session.expired")

    assert fresh(payment).state == "canceled"
    assert Delivery.objects.get().state == "processed"

"""Razorpay's webhooks: forged, doubled, early, out of order, about things we do not know. They only make us look."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from accounts.models import User
from billing import gateways, payments
from billing.gateways.razorpay import WEBHOOK_AGE_S, verify_webhook
from billing.models import LedgerTransaction, PaymentAttempt, PaymentStart
from billing.webhooks import razorpay as webhooks
from inbox import deliveries
from inbox.deliveries import Outcome, Verdict
from inbox.models import Delivery
from notifications.models import Mail
from tests import books
from tests.billing.buying import (
    available,
    bought,
    deliver,
    deliver_and_handle,
    fresh,
    logged,
    order_of,
    pay,
    priced,
    sign,
    start,
    together,
)
from tests.sandbox.process import RunningSandbox

pytestmark = pytest.mark.django_db
VECTOR = b'{"entity":"event","event":"payment.captured","contains":["payment"],"payload":{}}'


def test_the_published_vector_is_valid_on_the_raw_bytes_only(settings: Settings) -> None:
    settings.RAZORPAY_WEBHOOK_SECRET = "rz_webhook_secret_example"
    signature = "36d9dac82e638aeb922f869eeee0cfd754a5e1bcd968a573cbe215ae7bc0f414"

    assert verify_webhook({"X-Razorpay-Signature": signature}, VECTOR, now=0) is Verdict.VALID
    assert verify_webhook({"x-razorpay-signature": signature}, VECTOR, now=0) is Verdict.VALID
    respaced = json.dumps(json.loads(VECTOR)).encode()
    assert verify_webhook({"X-Razorpay-Signature": signature}, respaced, now=0) is Verdict.INVALID
    assert verify_webhook({}, VECTOR, now=0) is Verdict.INVALID
    assert verify_webhook({"X-Razorpay-Signature": "é" * 64}, VECTOR, now=0) is Verdict.INVALID
    settings.RAZORPAY_WEBHOOK_SECRET = ""
    assert verify_webhook({"X-Razorpay-Signature": signature}, VECTOR, now=0) is Verdict.NOT_CONFIGURED


def test_a_body_older_than_razorpay_repeats_is_stale(sandbox: RunningSandbox) -> None:
    now = int(time.time())
    for at, verdict in ((now, Verdict.VALID), (now - WEBHOOK_AGE_S - 1, Verdict.STALE), (now + 3600, Verdict.VALID)):
        body = json.dumps({"event": "order.paid", "created_at": at}).encode()
        assert verify_webhook({"x-razorpay-signature": sign(sandbox, body)}, body, now=now) is verdict


def test_a_webhook_pays_for_the_customer_who_closed_the_tab(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    pay(sandbox, payment)

    deliver_and_handle(sandbox, "payment.captured")

    assert fresh(payment).state == "succeeded"
    assert Delivery.objects.get().state == "processed"
    deliver_and_handle(sandbox, "order.paid")
    deliver_and_handle(sandbox, "payment.authorized")
    assert available(alice) == 105
    books.check()


def test_a_forged_webhook_is_refused_and_not_stored(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    pay(sandbox, payment)
    [body] = logged(sandbox, "payment.captured")

    assert deliver(sandbox, body, "0" * 64) == 400
    assert deliver(sandbox, body.replace(b"captured", b"failed"), sign(sandbox, body)) == 400
    assert deliver(sandbox, body, "") == 400

    assert not Delivery.objects.exists()
    assert fresh(payment).state == "pending"


def test_a_signed_lie_moves_nothing(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    entity = {"id": "pay_x", "order_id": order_of(payment), "status": "captured", "amount": 49900, "currency": "INR"}
    body = json.dumps({"event": "payment.captured", "payload": {"payment": {"entity": entity}}}).encode()

    assert deliver(sandbox, body) == 200
    deliveries.handle_due()

    assert fresh(payment).state == "pending"
    assert Delivery.objects.get().state == "processed"
    assert available(alice) == 5


@pytest.mark.django_db(transaction=True)
def test_the_same_webhook_fifty_times_at_once(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    pay(sandbox, payment)
    [body] = logged(sandbox, "payment.captured")

    answers = together(*[lambda: deliver(sandbox, body) for _ in range(50)])
    together(*[deliveries.handle_due for _ in range(4)])

    assert answers == [200] * 50
    row = Delivery.objects.get()
    assert (row.times_received, row.state) == (50, "processed")
    assert fresh(payment).state == "succeeded"
    assert available(alice) == 105
    assert LedgerTransaction.objects.filter(subject_id=payment.pk).count() == 2
    assert Mail.objects.filter(name="payment-confirmation").count() == 1
    books.check()


@pytest.mark.django_db(transaction=True)
def test_verify_and_webhook_at_once_credit_once(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    handed = pay(sandbox, payment)
    for name in ("payment.authorized", "payment.captured", "order.paid"):
        [body] = logged(sandbox, name)
        deliver(sandbox, body)

    together(deliveries.handle_due, lambda: payments.verify(payment, handed), deliveries.handle_due)

    assert fresh(payment).state == "succeeded"
    assert available(alice) == 105
    books.check()


def test_news_out_of_order_never_moves_a_payment_back(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    pay(sandbox, payment, "fail")
    pay(sandbox, payment)

    for name in ("order.paid", "payment.captured", "payment.failed", "payment.authorized"):
        deliver_and_handle(sandbox, name)

    assert fresh(payment).state == "succeeded"
    assert sorted(PaymentAttempt.objects.values_list("state", flat=True)) == ["captured", "failed"]
    assert not Mail.objects.filter(name="payment-failed").exists()
    books.check()


def test_a_webhook_that_beats_our_own_note_finds_its_payment_by_our_reference(
    alice: User, sandbox: RunningSandbox
) -> None:
    payment = start(alice)
    pay(sandbox, payment)
    PaymentStart.objects.update(ref=None)
    type(payment).objects.update(state="created")

    deliver_and_handle(sandbox, "order.paid")

    assert fresh(payment).state == "succeeded"
    assert available(alice) == 105
    books.check()


def test_an_order_of_somebody_else_stays_unmatched(alice: User, sandbox: RunningSandbox) -> None:
    auth = (sandbox.keys["RAZORPAY_KEY_ID"], sandbox.keys["RAZORPAY_KEY_SECRET"])
    order = sandbox.ask("POST", "/razorpay/v1/orders", {"amount": 100, "currency": "INR"}, auth=auth)
    event = {"event": "order.paid", "payload": {"order": {"entity": {"id": order["id"]}}}}

    assert webhooks.handle(event, stale=False) is Outcome.UNMATCHED
    event["payload"]["order"]["entity"]["id"] = "order_nobody"  # type: ignore[index]
    assert webhooks.handle(event, stale=False) is Outcome.UNMATCHED
    event["payload"]["order"]["entity"]["id"] = "../../payments"  # type: ignore[index]
    assert webhooks.handle(event, stale=False) is Outcome.UNMATCHED


@pytest.mark.parametrize(
    ("event", "outcome"),
    [
        ({"event": "subscription.charged", "payload": {}}, Outcome.IGNORED),
        ({}, Outcome.IGNORED),
        ({"event": ["order.paid"]}, Outcome.IGNORED),
        ({"event": "order.paid"}, Outcome.UNMATCHED),
        ({"event": "order.paid", "payload": []}, Outcome.UNMATCHED),
        ({"event": "refund.failed", "payload": {"refund": {"entity": {"id": 7}}}}, Outcome.UNMATCHED),
        ({"event": "payment.dispute.lost", "payload": {"dispute": None}}, Outcome.UNMATCHED),
    ],
)
def test_unknown_and_misshapen_events_do_no_harm(
    sandbox: RunningSandbox, event: dict[str, Any], outcome: Outcome
) -> None:
    assert webhooks.handle(event, stale=False) is outcome


def test_a_webhook_while_the_gateway_is_away_is_tried_again(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    pay(sandbox, payment)
    sandbox.fault("razorpay", "500")

    deliver_and_handle(sandbox, "payment.captured")
    assert Delivery.objects.get().state == "failed"
    assert fresh(payment).state == "pending"

    Delivery.objects.update(next_at="2020-01-01T00:00Z")
    deliveries.handle_due()
    assert Delivery.objects.get().state == "processed"
    assert fresh(payment).state == "succeeded"


def test_webhooks_of_a_repeated_amount_credit_once(alice: User, sandbox: RunningSandbox) -> None:
    sandbox.deliver_webhooks(False)
    payment = start(alice, priced(50_003))
    pay(sandbox, payment)

    deliver_and_handle(sandbox, "payment.captured")

    assert Delivery.objects.get().times_received == 5
    assert available(alice) == 105
    books.check()


def test_without_a_secret_there_is_no_door(settings: Settings) -> None:
    settings.RAZORPAY_WEBHOOK_SECRET = ""
    assert Client().post("/api/v1/webhooks/razorpay", data=b"{}", content_type="application/json").status_code == 404


def test_paid_after_cancel_by_webhook(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    payments.cancel(payment)
    pay(sandbox, payment)

    deliver_and_handle(sandbox, "order.paid")

    assert fresh(payment).state == "succeeded"
    assert available(alice) == 105
    books.check()


def test_a_dispute_can_be_the_first_we_hear_of_a_payment(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    handed = pay(sandbox, payment)
    sandbox.gateway("payments", handed["razorpay_payment_id"], "dispute")

    deliver_and_handle(sandbox, "payment.dispute.created")

    assert fresh(payment).state == "disputed"
    assert available(alice) == 5
    books.check()


def test_a_refund_in_the_gateways_dashboard_comes_in_by_webhook(alice: User, sandbox: RunningSandbox) -> None:
    payment = bought(sandbox, alice)
    sandbox.gateway("payments", payment.attempts.get().ref, "refund", amount="24950")

    deliver_and_handle(sandbox, "refund.created")
    deliver_and_handle(sandbox, "refund.processed")

    settled = fresh(payment)
    assert (settled.state, settled.refunded, settled.taken) == ("partially_refunded", 24_950, 50)
    assert available(alice) == 55
    books.check()


def test_the_gateway_is_asked_not_the_body(sandbox: RunningSandbox) -> None:
    assert gateways.get("razorpay").find_start("nobody-1") is None

"""Webhook delivery: retries, the log, sending again, switching off."""

from __future__ import annotations

import itertools

import razorpay

from tests.sandbox.process import RunningSandbox, running_sandbox, wait_for
from tests.sandbox.receiver import Receiver
from tests.sandbox.test_razorpay import paid


def test_refused_delivery_is_retried_with_growing_pauses_and_the_same_event_id(
    sandbox: RunningSandbox, gateway: razorpay.Client, receiver: Receiver
) -> None:
    sandbox.deliver_webhooks(False)
    payment = paid(sandbox, gateway)
    sandbox.deliver_webhooks(True)
    receiver.answers = [500, 302, 503]

    sandbox.resend(sandbox.deliveries(event="payment.captured")[0]["id"])

    received = receiver.wait(payment["id"], "payment.captured", 4)
    (delivery,) = wait_for(
        lambda: sandbox.deliveries(event="payment.captured", state="delivered"), "the delivery's end"
    )
    assert [attempt["status"] for attempt in delivery["attempts"]] == [500, 302, 503, 200]
    assert len({one.headers["x-razorpay-event-id"] for one in received}) == 1
    assert len({one.body for one in received}) == 1
    pauses = [later.at - earlier.at for earlier, later in itertools.pairwise(received)]
    assert all(pause >= 0.09 * 2**number for number, pause in enumerate(pauses))


def test_unreachable_receiver_is_tried_again() -> None:
    with running_sandbox(PUBLIC_URL="http://127.0.0.1:9") as sandbox:
        keys = (sandbox.keys["RAZORPAY_KEY_ID"], sandbox.keys["RAZORPAY_KEY_SECRET"])
        paid(sandbox, razorpay.Client(auth=keys, base_url=sandbox.razorpay_url))

        (delivery,) = wait_for(
            lambda: [one for one in sandbox.deliveries(event="order.paid") if len(one["attempts"]) >= 2], "retries"
        )

    assert delivery["state"] == "pending"
    assert all(attempt["error"] for attempt in delivery["attempts"])


def test_switched_off_webhooks_are_dropped_and_logged(
    sandbox: RunningSandbox, gateway: razorpay.Client, receiver: Receiver
) -> None:
    sandbox.deliver_webhooks(False)
    payment = paid(sandbox, gateway)

    assert {one["state"] for one in sandbox.deliveries(provider="razorpay")} == {"dropped"}
    assert {one["subject"] for one in sandbox.deliveries()} == {payment["id"]}
    assert receiver.received == []


def test_one_provider_is_switched_off_alone(
    sandbox: RunningSandbox, gateway: razorpay.Client, receiver: Receiver
) -> None:
    sandbox.deliver_webhooks(False, "magic-hour")

    payment = paid(sandbox, gateway)

    receiver.wait(payment["id"], "order.paid")


def test_one_webhook_is_sent_again_fifty_times_at_once(
    sandbox: RunningSandbox, gateway: razorpay.Client, receiver: Receiver
) -> None:
    payment = paid(sandbox, gateway)
    original = receiver.wait(payment["id"], "payment.captured")[0]
    wait_for(lambda: len(receiver.received) == 3, "the three webhooks")
    receiver.delay_s = 0.5
    (delivery,) = sandbox.deliveries(event="payment.captured")

    assert len(sandbox.resend(delivery["id"], times=50)) == 50

    again = receiver.wait(payment["id"], "payment.captured", 51)[1:]
    assert {(one.body, one.headers["x-razorpay-signature"]) for one in again} == {
        (original.body, original.headers["x-razorpay-signature"])
    }
    assert max(one.at for one in again) - min(one.at for one in again) < 20


def test_webhook_pages_show_the_log(sandbox: RunningSandbox, gateway: razorpay.Client) -> None:
    payment = paid(sandbox, gateway)
    (delivery,) = sandbox.deliveries(event="order.paid")

    listing = sandbox.call("GET", "/deliveries").text
    page = sandbox.call("GET", f"/deliveries/{delivery['id']}").text

    assert "order.paid" in listing
    assert payment["id"] in listing
    assert payment["id"] in page

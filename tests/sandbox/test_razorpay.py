"""Razorpay's simulator, driven by Razorpay's own SDK."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import razorpay
import requests
from razorpay.errors import BadRequestError, GatewayError, ServerError

from sandbox.razorpay.checkout import signature
from sandbox.webhooks import razorpay_signature
from tests.sandbox.process import RunningSandbox, wait_for
from tests.sandbox.receiver import Receiver

AUTOMATIC = {"capture": "automatic", "capture_options": {"automatic_expiry_period": 12, "refund_speed": "normal"}}


def order(gateway: razorpay.Client, amount: int = 49_900, **more: Any) -> dict[str, Any]:
    return dict(gateway.order.create({"amount": amount, "currency": "INR", "payment": AUTOMATIC} | more))


def paid(sandbox: RunningSandbox, gateway: razorpay.Client, amount: int = 49_900, **more: Any) -> dict[str, Any]:
    handed = sandbox.checkout(order(gateway, amount, **more)["id"])
    return dict(gateway.payment.fetch(handed["razorpay_payment_id"]))


def test_vectors_of_the_provider_page_hold() -> None:
    body = b'{"entity":"event","event":"payment.captured","contains":["payment"],"payload":{}}'

    assert (
        signature("rz_key_secret_example", "order_Ex01", "pay_Ex01")
        == "788126578560eea095c76bc0fc4c5f962a8eec998a1173f2d18a179f37f12833"
    )
    assert (
        razorpay_signature("rz_webhook_secret_example", body)
        == "36d9dac82e638aeb922f869eeee0cfd754a5e1bcd968a573cbe215ae7bc0f414"
    )


def test_order_is_created_as_the_provider_shows_it(gateway: razorpay.Client) -> None:
    made = order(gateway, receipt="topup-1")

    assert re.fullmatch(r"order_[A-Za-z0-9]{14}", made.pop("id"))
    assert abs(made.pop("created_at") - time.time()) < 60
    assert made == {
        "entity": "order", "amount": 49_900, "amount_paid": 0, "amount_due": 49_900, "currency": "INR",
        "receipt": "topup-1", "offer_id": None, "status": "created", "attempts": 0, "notes": [],
    }  # fmt: skip


def test_filled_notes_are_an_object_and_empty_ones_a_list(gateway: razorpay.Client) -> None:
    assert order(gateway, notes={"a": "b"})["notes"] == {"a": "b"}
    assert order(gateway, notes={})["notes"] == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"amount": 99, "currency": "INR"}, "at least INR 1.00"),
        ({"amount": 4.5, "currency": "INR"}, "must be an integer"),
        ({"amount": True, "currency": "INR"}, "must be an integer"),
        ({"amount": -100, "currency": "INR"}, "at least"),
        ({"currency": "INR"}, "amount field is required"),
        ({"amount": 100}, "currency field is required"),
        ({"amount": 100, "currency": "inr"}, "Currency is not supported"),
        ({"amount": 100, "currency": "INR", "receipt": "r" * 41}, "40 characters"),
        ({"amount": 100, "currency": "INR", "notes": {str(n): "" for n in range(16)}}, "15"),
        ({"amount": 100, "currency": "INR", "notes": {"a": "b" * 257}}, "256"),
        ({"amount": 100, "currency": "INR", "gift": 1}, "gift is/are not required and should not be sent"),
        ({"amount": 100, "currency": "INR", "payment": {"capture": "later"}}, "payment.capture is invalid"),
    ],
)
def test_bad_order_is_refused_with_the_providers_message(
    gateway: razorpay.Client, body: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadRequestError, match=re.escape(message)):
        gateway.order.create(body)

    assert gateway.order.all()["count"] == 0


def test_unique_receipt_answers_the_same_order(gateway: razorpay.Client) -> None:
    first = order(gateway, receipt="p-1", unique_receipt=True)

    assert order(gateway, receipt="p-1", unique_receipt=True)["id"] == first["id"]
    assert order(gateway, receipt="p-1")["id"] != first["id"]


def test_wrong_key_and_unknown_id_have_the_providers_error_body(sandbox: RunningSandbox) -> None:
    keys = (sandbox.keys["RAZORPAY_KEY_ID"], sandbox.keys["RAZORPAY_KEY_SECRET"])

    wrong = requests.get(f"{sandbox.razorpay_url}/v1/orders/x", auth=(keys[0], "wrong"), timeout=10)
    unknown = requests.get(f"{sandbox.razorpay_url}/v1/payments/pay_none", auth=keys, timeout=10)

    assert (wrong.status_code, wrong.json()["error"]["description"]) == (401, "Authentication failed")
    assert unknown.status_code == 400
    assert set(unknown.json()["error"]) == {"code", "description", "source", "step", "reason", "metadata"}
    assert unknown.json()["error"]["description"] == "The id provided does not exist"


def test_paid_checkout_hands_over_what_the_sdk_verifies(sandbox: RunningSandbox, gateway: razorpay.Client) -> None:
    made = order(gateway)

    handed = sandbox.checkout(made["id"])

    assert set(handed) == {"razorpay_payment_id", "razorpay_order_id", "razorpay_signature"}
    assert gateway.utility.verify_payment_signature(handed)
    payment = gateway.payment.fetch(handed["razorpay_payment_id"])
    assert (payment["status"], payment["captured"], payment["amount"]) == ("captured", True, 49_900)
    assert payment["fee"] == 1_178
    assert payment["tax"] == 179
    after = gateway.order.fetch(made["id"])
    assert (after["status"], after["amount_paid"], after["amount_due"], after["attempts"]) == ("paid", 49_900, 0, 1)
    assert gateway.order.payments(made["id"])["items"] == [payment]


def test_payment_fires_three_webhooks_that_the_sdk_verifies(
    sandbox: RunningSandbox, gateway: razorpay.Client, receiver: Receiver
) -> None:
    payment = paid(sandbox, gateway)

    for event, contains in (
        ("payment.authorized", ["payment"]),
        ("payment.captured", ["payment"]),
        ("order.paid", ["payment", "order"]),
    ):
        (one,) = receiver.wait(payment["id"], event)
        assert one.path == "/api/v1/webhooks/razorpay"
        assert gateway.utility.verify_webhook_signature(
            one.body.decode(), one.headers["x-razorpay-signature"], sandbox.keys["RAZORPAY_WEBHOOK_SECRET"]
        )
        assert one.json["contains"] == contains
        assert one.json["payload"]["payment"]["entity"]["id"] == payment["id"]
        assert one.headers["x-razorpay-event-id"]
    authorized = receiver.about(payment["id"], "payment.authorized")[0].json["payload"]["payment"]["entity"]
    assert (authorized["status"], authorized["fee"]) == ("authorized", None)


def test_paid_order_cannot_be_paid_again_unless_asked(sandbox: RunningSandbox, gateway: razorpay.Client) -> None:
    made = order(gateway)
    sandbox.checkout(made["id"])

    refused = sandbox.checkout(made["id"])
    second = sandbox.checkout(made["id"], again="1")

    assert refused["error"]["reason"] == "order_already_paid"
    assert gateway.utility.verify_payment_signature(second)
    captured = [payment["status"] for payment in gateway.order.payments(made["id"])["items"]]
    assert captured == ["captured", "captured"]


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ({"card": "4100 2800 0008 0001"}, "insufficient_funds"),
        ({"card": "4100 2800 0006 0003"}, "payment_declined"),
        ({"card": "4100 2800 0000 0009"}, "authentication_failed"),
        ({"card": "4100 2800 0000 1007", "otp": "123"}, "incorrect_otp"),
        ({"vpa": "failure@razorpay"}, "payment_failed"),
    ],
)
def test_failing_test_cards_fail_the_attempt_and_leave_the_order_open(
    sandbox: RunningSandbox, gateway: razorpay.Client, receiver: Receiver, form: dict[str, str], reason: str
) -> None:
    made = order(gateway)

    handed = sandbox.checkout(made["id"], **form)

    assert handed["error"]["reason"] == reason
    payment = gateway.payment.fetch(handed["error"]["metadata"]["payment_id"])
    assert (payment["status"], payment["error_reason"], payment["fee"]) == ("failed", reason, None)
    receiver.wait(payment["id"], "payment.failed")
    assert gateway.order.fetch(made["id"])["status"] == "attempted"
    assert gateway.utility.verify_payment_signature(sandbox.checkout(made["id"]))


@pytest.mark.parametrize(
    "form",
    [{"card": card} for card in ("4100280000001007", "5500 6700 0000 1002", "6527658900001005")]
    + [{"vpa": "success@razorpay"}, {"method": "netbanking"}, {"method": "wallet"}],
)
def test_good_test_cards_pay(sandbox: RunningSandbox, gateway: razorpay.Client, form: dict[str, str]) -> None:
    assert gateway.utility.verify_payment_signature(sandbox.checkout(order(gateway)["id"], **form))


def test_unknown_card_makes_no_payment(sandbox: RunningSandbox, gateway: razorpay.Client) -> None:
    made = order(gateway)

    assert "error" in sandbox.checkout(made["id"], card="4111111111111111")
    assert gateway.order.payments(made["id"])["count"] == 0


def test_abandoned_checkout_hands_over_nothing(sandbox: RunningSandbox, gateway: razorpay.Client) -> None:
    made = order(gateway)

    assert sandbox.checkout(made["id"], "abandon") == {}
    assert gateway.order.fetch(made["id"])["status"] == "created"


def test_authorized_payment_is_captured_by_api_only_with_its_amount(
    sandbox: RunningSandbox, gateway: razorpay.Client
) -> None:
    made = gateway.order.create({"amount": 49_900, "currency": "INR"})
    pid = sandbox.checkout(made["id"])["razorpay_payment_id"]
    assert gateway.payment.fetch(pid)["status"] == "authorized"

    with pytest.raises(BadRequestError, match="equal to the amount authorized"):
        gateway.payment.capture(pid, 100, {"currency": "INR"})
    with pytest.raises(BadRequestError, match="status should be captured"):
        gateway.payment.refund(pid, {})
    captured = gateway.payment.capture(pid, 49_900, {"currency": "INR"})
    with pytest.raises(BadRequestError, match="already been captured"):
        gateway.payment.capture(pid, 49_900, {"currency": "INR"})

    assert captured["status"] == "captured"
    assert gateway.order.fetch(made["id"])["status"] == "paid"


def test_uncaptured_payment_goes_back_after_five_days(sandbox: RunningSandbox, gateway: razorpay.Client) -> None:
    made = order(gateway)
    pid = sandbox.checkout(made["id"], "authorize")["razorpay_payment_id"]

    sandbox.advance(5 * 24 * 3600 + 1)

    wait_for(lambda: gateway.payment.fetch(pid)["status"] == "refunded", "the automatic refund")
    assert gateway.order.fetch(made["id"])["status"] == "attempted"


def test_failed_payment_may_be_authorised_late(
    sandbox: RunningSandbox, gateway: razorpay.Client, receiver: Receiver
) -> None:
    made = order(gateway)
    pid = sandbox.checkout(made["id"], "late")["error"]["metadata"]["payment_id"]
    assert gateway.payment.fetch(pid)["status"] == "failed"

    sandbox.advance(30)

    receiver.wait(pid, "payment.captured")
    payment = gateway.payment.fetch(pid)
    assert (payment["status"], payment["error_code"]) == ("captured", None)


def test_partial_then_full_refund(sandbox: RunningSandbox, gateway: razorpay.Client, receiver: Receiver) -> None:
    payment = paid(sandbox, gateway)

    first = gateway.payment.refund(payment["id"], {"amount": 20_000, "receipt": "r-1", "notes": {"our": "id"}})
    partly = gateway.payment.fetch(payment["id"])
    rest = gateway.payment.refund(payment["id"], {})
    fully = gateway.payment.fetch(payment["id"])

    assert (first["status"], first["amount"], first["receipt"], first["notes"]) == (
        "processed", 20_000, "r-1", {"our": "id"},
    )  # fmt: skip
    assert (partly["status"], partly["refund_status"], partly["amount_refunded"]) == ("captured", "partial", 20_000)
    assert rest["amount"] == 29_900
    assert (fully["status"], fully["refund_status"], fully["amount_refunded"]) == ("refunded", "full", 49_900)
    assert gateway.order.fetch(payment["order_id"])["status"] == "paid"
    assert gateway.payment.fetch_multiple_refund(payment["id"])["items"] == [rest, gateway.refund.fetch(first["id"])]
    assert receiver.wait(first["id"], "refund.created")[0].json["contains"] == ["refund", "payment"]
    receiver.wait(first["id"], "refund.processed")
    with pytest.raises(BadRequestError, match="fully refunded already"):
        gateway.payment.refund(payment["id"], {"amount": 100})


def test_refund_of_more_than_was_captured_is_refused(sandbox: RunningSandbox, gateway: razorpay.Client) -> None:
    payment = paid(sandbox, gateway)

    with pytest.raises(BadRequestError, match="greater than the refund payment amount"):
        gateway.payment.refund(payment["id"], {"amount": 49_901})

    assert gateway.refund.all()["count"] == 0


def test_refund_key_answers_the_same_refund_and_refuses_another_body(
    sandbox: RunningSandbox, gateway: razorpay.Client
) -> None:
    payment = paid(sandbox, gateway)
    key = {"X-Refund-Idempotency": "refund-0001"}

    first = gateway.payment.refund(payment["id"], {"amount": 100}, headers=dict(key))
    again = gateway.payment.refund(payment["id"], {"amount": 100}, headers=dict(key))

    assert again["id"] == first["id"]
    with pytest.raises(BadRequestError, match="Different request body"):
        gateway.payment.refund(payment["id"], {"amount": 200}, headers=dict(key))
    with pytest.raises(BadRequestError, match="at least 10"):
        gateway.payment.refund(payment["id"], {"amount": 100}, headers={"X-Refund-Idempotency": "short"})
    assert gateway.payment.fetch(payment["id"])["amount_refunded"] == 100


def test_refund_key_in_progress_is_a_conflict(
    sandbox: RunningSandbox, gateway: razorpay.Client, receiver: Receiver
) -> None:
    payment = paid(sandbox, gateway)
    url = f"{sandbox.razorpay_url}/v1/payments/{payment['id']}/refund"
    keys = (sandbox.keys["RAZORPAY_KEY_ID"], sandbox.keys["RAZORPAY_KEY_SECRET"])
    headers = {"X-Refund-Idempotency": "refund-0001"}
    receiver.delay_s = 0.5

    def ask() -> int:
        return requests.post(url, json={"amount": 107}, auth=keys, headers=headers, timeout=10).status_code

    with ThreadPoolExecutor(2) as pool:
        statuses = sorted(pool.map(lambda _: ask(), range(2)))

    assert statuses == [200, 409]
    assert gateway.payment.fetch(payment["id"])["amount_refunded"] == 107


def test_refund_ending_in_01_fails_later_and_gives_the_money_back(
    sandbox: RunningSandbox, gateway: razorpay.Client, receiver: Receiver
) -> None:
    payment = paid(sandbox, gateway)

    refund = gateway.payment.refund(payment["id"], {"amount": 10_001})

    assert refund["status"] == "pending"
    receiver.wait(refund["id"], "refund.failed")
    assert gateway.refund.fetch(refund["id"])["status"] == "failed"
    after = gateway.payment.fetch(payment["id"])
    assert (after["status"], after["amount_refunded"], after["refund_status"]) == ("captured", 0, None)


def test_refund_ending_in_02_is_processed_later(sandbox: RunningSandbox, gateway: razorpay.Client) -> None:
    payment = paid(sandbox, gateway)
    refund = gateway.payment.refund(payment["id"], {"amount": 10_002})
    assert gateway.refund.fetch(refund["id"])["status"] == "pending"

    sandbox.advance(30)

    wait_for(lambda: gateway.refund.fetch(refund["id"])["status"] == "processed", "the refund")


def test_processed_refund_may_bounce_from_the_dashboard(sandbox: RunningSandbox, gateway: razorpay.Client) -> None:
    payment = paid(sandbox, gateway)
    refund = sandbox.gateway("payments", payment["id"], "refund", amount=100)

    sandbox.gateway("refunds", refund["id"], "fail")

    assert gateway.refund.fetch(refund["id"])["status"] == "failed"
    assert gateway.payment.fetch(payment["id"])["amount_refunded"] == 0


@pytest.mark.parametrize(
    ("verdict", "status", "deducted"), [("win", "won", 0), ("lose", "lost", 20_000), ("close", "closed", 0)]
)
def test_dispute_runs_its_course_on_the_dashboard(
    sandbox: RunningSandbox, gateway: razorpay.Client, receiver: Receiver, verdict: str, status: str, deducted: int
) -> None:
    payment = paid(sandbox, gateway)

    dispute = sandbox.gateway("payments", payment["id"], "dispute", amount=20_000)
    sandbox.gateway("disputes", dispute["id"], "review")
    sandbox.gateway("disputes", dispute["id"], verdict)

    after = gateway.dispute.fetch(dispute["id"])
    assert (after["status"], after["amount"], after["amount_deducted"]) == (status, 20_000, deducted)
    assert (dispute["status"], dispute["amount_deducted"], dispute["phase"]) == ("open", 0, "chargeback")
    for event in ("created", "under_review", status):
        (one,) = receiver.wait(dispute["id"], f"payment.dispute.{event}")
        assert one.json["contains"] == ["payment", "dispute"]
    assert sandbox.call("POST", f"/razorpay/dashboard/disputes/{dispute['id']}/lose").status_code == 400


def test_full_dispute_takes_the_whole_payment_and_no_more(sandbox: RunningSandbox, gateway: razorpay.Client) -> None:
    payment = paid(sandbox, gateway)

    assert sandbox.gateway("payments", payment["id"], "dispute")["amount"] == 49_900
    assert sandbox.call("POST", f"/razorpay/dashboard/payments/{payment['id']}/dispute").status_code == 400


def test_lists_page_newest_first_within_their_window(sandbox: RunningSandbox, gateway: razorpay.Client) -> None:
    made = [paid(sandbox, gateway)["id"] for _ in range(12)]
    now = int(time.time())

    assert [item["id"] for item in gateway.payment.all()["items"]] == made[::-1][:10]
    assert [item["id"] for item in gateway.payment.all({"count": 5, "skip": 10})["items"]] == made[::-1][10:]
    assert gateway.payment.all({"from": now - 60, "to": now + 60, "count": 100})["count"] == 12
    assert gateway.payment.all({"from": now + 60})["count"] == 0
    assert gateway.payment.all({"to": now - 60})["count"] == 0
    with pytest.raises(BadRequestError, match="between 1 and 100"):
        gateway.payment.all({"count": 101})


def test_refunds_and_disputes_are_listed(sandbox: RunningSandbox, gateway: razorpay.Client) -> None:
    payment = paid(sandbox, gateway)
    refund = gateway.payment.refund(payment["id"], {"amount": 100})
    dispute = sandbox.gateway("payments", payment["id"], "dispute", amount=100)
    since = {"from": int(time.time()) - 60, "count": 100}

    assert [item["id"] for item in gateway.refund.all(since)["items"]] == [refund["id"]]
    assert [item["id"] for item in gateway.dispute.all(since)["items"]] == [dispute["id"]]
    assert gateway.payment.fetch_refund_id(payment["id"], refund["id"])["id"] == refund["id"]


# Magic amounts ---------------------------------------------------------------------------------


def test_amount_01_is_declined(sandbox: RunningSandbox, gateway: razorpay.Client) -> None:
    made = order(gateway, 50_001)

    assert sandbox.checkout(made["id"])["error"]["reason"] == "payment_declined"
    assert gateway.order.fetch(made["id"])["status"] == "attempted"


def test_amount_02_is_paid_thirty_seconds_later(
    sandbox: RunningSandbox, gateway: razorpay.Client, receiver: Receiver
) -> None:
    made = order(gateway, 50_002)

    assert sandbox.checkout(made["id"]) == {}
    (payment,) = gateway.order.payments(made["id"])["items"]
    assert payment["status"] == "created"
    sandbox.advance(20)
    assert gateway.payment.fetch(payment["id"])["status"] == "created"
    sandbox.advance(10)

    receiver.wait(payment["id"], "order.paid")
    assert gateway.payment.fetch(payment["id"])["status"] == "captured"


def test_amount_03_sends_each_webhook_five_times(
    sandbox: RunningSandbox, gateway: razorpay.Client, receiver: Receiver
) -> None:
    payment = paid(sandbox, gateway, 50_003)

    received = receiver.wait(payment["id"], "payment.captured", 5)
    wait_for(lambda: len(receiver.received) == 15, "all webhooks")
    assert len({one.body for one in received}) == 1
    assert len({one.headers["x-razorpay-event-id"] for one in received}) == 1


def test_amount_04_sends_none(sandbox: RunningSandbox, gateway: razorpay.Client, receiver: Receiver) -> None:
    payment = paid(sandbox, gateway, 50_004)

    assert payment["status"] == "captured"
    assert sandbox.deliveries() == []
    assert receiver.received == []


def test_amount_05_is_underpaid(sandbox: RunningSandbox, gateway: razorpay.Client) -> None:
    payment = paid(sandbox, gateway, 50_005)

    assert (payment["status"], payment["amount"]) == ("captured", 49_905)
    after = gateway.order.fetch(payment["order_id"])
    assert (after["status"], after["amount_paid"], after["amount_due"]) == ("attempted", 49_905, 100)


def test_amount_06_is_overpaid(sandbox: RunningSandbox, gateway: razorpay.Client) -> None:
    payment = paid(sandbox, gateway, 50_006)

    assert (payment["status"], payment["amount"]) == ("captured", 50_106)
    after = gateway.order.fetch(payment["order_id"])
    assert (after["status"], after["amount_paid"], after["amount_due"]) == ("paid", 50_106, 0)


def test_amount_07_sends_webhooks_before_the_answer(
    sandbox: RunningSandbox, gateway: razorpay.Client, receiver: Receiver
) -> None:
    made = order(gateway, 50_007)
    receiver.delay_s = 0.3

    handed = sandbox.checkout(made["id"])

    assert {one.event for one in receiver.about(handed["razorpay_payment_id"])} == {
        "payment.authorized", "payment.captured", "order.paid",
    }  # fmt: skip
    assert time.time() - receiver.received[0].at >= 0.3


# Faults ----------------------------------------------------------------------------------------


def test_faults_break_the_next_calls_only(sandbox: RunningSandbox, gateway: razorpay.Client) -> None:
    sandbox.fault("razorpay", "500")
    with pytest.raises(ServerError):
        order(gateway)
    sandbox.fault("razorpay", "refuse")
    with pytest.raises(requests.ConnectionError):
        order(gateway)
    sandbox.fault("razorpay", "hang")
    with pytest.raises(requests.Timeout):
        gateway.order.create({"amount": 100, "currency": "INR"}, timeout=0.5)
    sandbox.fault("razorpay", "wrongtype")
    with pytest.raises(requests.exceptions.JSONDecodeError):
        order(gateway)
    assert gateway.order.all()["count"] == 0

    assert order(gateway)["status"] == "created"


def test_fault_after_the_effect_loses_only_the_answer(sandbox: RunningSandbox, gateway: razorpay.Client) -> None:
    for mode in ("refuse", "hang", "truncated"):
        sandbox.fault("razorpay", mode, when="after", path="/orders", method="POST")
        with pytest.raises((requests.RequestException, GatewayError)):
            gateway.order.create({"amount": 100, "currency": "INR"}, timeout=0.5)

    assert gateway.order.all()["count"] == 3


def test_slow_fault_answers_late(sandbox: RunningSandbox, gateway: razorpay.Client) -> None:
    sandbox.fault("razorpay", "slow", seconds=0.4)
    began = time.monotonic()

    order(gateway)

    assert time.monotonic() - began >= 0.4


# Pages -----------------------------------------------------------------------------------------


def test_checkout_page_posts_to_the_shop_as_the_real_one_does(
    sandbox: RunningSandbox, gateway: razorpay.Client
) -> None:
    made = order(gateway)
    page = requests.get(f"{sandbox.razorpay_url}/checkout/{made['id']}?callback_url=http://shop.test/back", timeout=10)
    assert f"/razorpay/checkout/{made['id']}/pay" in page.text
    assert "http://shop.test/back" in page.text

    result = requests.post(
        f"{sandbox.razorpay_url}/checkout/{made['id']}/pay",
        data={"callback_url": "http://shop.test/back", "method": "card", "card": "4100280000001007"},
        timeout=10,
    )

    assert result.status_code == 200
    assert 'action="http://shop.test/back"' in result.text
    assert "razorpay_signature" in result.text


def test_checkout_page_never_links_to_a_script(sandbox: RunningSandbox, gateway: razorpay.Client) -> None:
    made = order(gateway, receipt="<script>alert(1)</script>")

    page = requests.get(f"{sandbox.razorpay_url}/checkout/{made['id']}", timeout=10)
    result = requests.post(
        f"{sandbox.razorpay_url}/checkout/{made['id']}/pay", data={"callback_url": "javascript:alert(1)"}, timeout=10
    )

    assert "<script>alert(1)" not in page.text
    assert "javascript:" not in result.text


def test_dashboard_shows_everything(sandbox: RunningSandbox, gateway: razorpay.Client) -> None:
    payment = paid(sandbox, gateway)
    dispute = sandbox.gateway("payments", payment["id"], "dispute", amount=100)

    page = requests.get(f"{sandbox.razorpay_url}/dashboard", timeout=10).text

    for id in (payment["id"], payment["order_id"], dispute["id"]):
        assert id in page
    assert payment["id"] in requests.get(f"{sandbox.razorpay_url}/dashboard/payments/{payment['id']}", timeout=10).text

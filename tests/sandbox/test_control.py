"""The control surface and the front page."""

from __future__ import annotations

from typing import Any

import pytest
import razorpay

from sandbox import magic
from sandbox.razorpay import cards
from tests.sandbox.process import RunningSandbox
from tests.sandbox.test_razorpay import order, paid

# What a gateway calls a key and shows to every browser.
PUBLIC = ("rzp_test_", "pk_test_", "MK_TEST_", "API")


def test_front_page_lists_every_magic_value_and_test_card(sandbox: RunningSandbox) -> None:
    page = sandbox.call("GET", "/").text

    for word in magic.TEXTS:
        assert word in page
    for digits in magic.AMOUNTS:
        assert f"…{digits:02d}" in page
    for number in (*cards.GOOD, *cards.BAD):
        assert cards.spaced(number) in page
    assert sandbox.razorpay_url in page
    assert sandbox.magic_hour_url in page
    assert sandbox.xai_url in page
    assert sandbox.smtp_url in page
    for secret in sandbox.keys.values():
        assert secret not in page or secret.startswith(PUBLIC)


def test_health_is_ready(sandbox: RunningSandbox) -> None:
    assert sandbox.ask("GET", "/health") == {"status": "ok", "smtp_port": sandbox.smtp_port}


def test_reset_forgets_everything(sandbox: RunningSandbox, gateway: razorpay.Client) -> None:
    paid(sandbox, gateway)
    sandbox.fault("razorpay", "500", count=None)
    sandbox.deliver_webhooks(False)
    sandbox.advance(1000)
    sandbox.tune(speed_s=9)

    sandbox.reset()

    assert gateway.order.all()["count"] == 0
    assert sandbox.deliveries() == []
    assert len(sandbox.requests()) == 1
    assert sandbox.ask("POST", "/control/webhooks", {"deliver": True}) == dict.fromkeys(
        ("razorpay", "stripe", "monnify", "magic-hour", "kie", "livekit"), True
    )
    assert sandbox.ask("POST", "/control/advance", {"seconds": 0}) == {"offset_s": 0}
    assert sandbox.ask("POST", "/control/settings", {})["speed_s"] == 0.1


def test_requests_are_logged_without_secrets(sandbox: RunningSandbox, gateway: razorpay.Client) -> None:
    payment = paid(sandbox, gateway)
    gateway.payment.refund(payment["id"], {"amount": 100}, headers={"X-Refund-Idempotency": "refund-0001"})

    (refund,) = sandbox.requests(provider="razorpay", method="POST", path="/refund")

    assert (refund["path"], refund["status"]) == (f"/v1/payments/{payment['id']}/refund", 200)
    assert refund["headers"]["x-refund-idempotency"] == "refund-0001"
    assert refund["headers"]["authorization"] == "Basic …"


def test_fault_is_counted_and_matched_by_method_and_path(sandbox: RunningSandbox, gateway: razorpay.Client) -> None:
    sandbox.fault("razorpay", "500", count=2, method="GET", path="/payments")

    order(gateway)
    for _ in range(2):
        with pytest.raises(razorpay.errors.ServerError):
            gateway.payment.all()

    assert gateway.payment.all()["count"] == 0
    assert sandbox.ask("GET", "/control/faults") == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("faults", {"provider": "nobody", "mode": "500"}),
        ("faults", {"provider": "razorpay", "mode": "explode"}),
        ("faults", {"provider": "razorpay", "mode": "500", "count": 0}),
        ("faults", {"provider": "razorpay", "mode": "500", "when": "never"}),
        ("faults", {"provider": "razorpay", "mode": "500", "colour": "red"}),
        ("faults", []),
        ("webhooks", {"deliver": "no"}),
        ("webhooks", {"deliver": True, "provider": "nobody"}),
        ("advance", {"seconds": -1}),
        ("advance", {}),
        ("settings", {"speed": 1}),
        ("settings", {"speed_s": "fast"}),
    ],
)
def test_bad_control_call_is_refused_with_a_reason(sandbox: RunningSandbox, path: str, body: Any) -> None:
    answer = sandbox.call("POST", f"/control/{path}", body)

    assert answer.status_code == 400
    assert answer.json()["error"]

"""The Razorpay class alone: what it makes of answers, good and bad, from a server that says what a test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
from pytest_django import Settings

from billing import gateways
from billing.gateways.base import (
    AttemptStatus,
    DisputeStatus,
    Misconfigured,
    Opening,
    RefundStatus,
    Rejected,
    StartFact,
    Unclear,
    Unreachable,
)
from billing.gateways.razorpay import Razorpay, is_real
from core.ids import new_id

PAYMENT = {
    "id": "pay_1",
    "entity": "payment",
    "amount": 49900,
    "currency": "INR",
    "status": "captured",
    "captured": True,
    "order_id": "order_1",
    "amount_refunded": 0,
    "refund_status": None,
    "method": "upi",
    "notes": [],
    "error_code": None,
    "error_description": None,
    "error_reason": None,
    "created_at": 1763700000,
}
ORDER = {"id": "order_1", "amount": 49900, "currency": "INR", "receipt": "r-1", "notes": []}


class Stub(BaseHTTPRequestHandler):
    answer: ClassVar[tuple[int, str, dict[str, str]]] = (200, "{}", {})
    asked: ClassVar[list[tuple[str, str, dict[str, str], bytes]]] = []

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        Stub.asked.append((self.command, self.path, dict(self.headers), body))
        status, text, headers = Stub.answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    do_POST = do_GET

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def stub(settings: Settings) -> Iterator[type[Stub]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings.RAZORPAY_BASE_URL = f"http://127.0.0.1:{server.server_port}"
    settings.RAZORPAY_KEY_ID, settings.RAZORPAY_KEY_SECRET = "rzp_test_k", "s"
    Stub.asked.clear()
    yield Stub
    server.shutdown()
    server.server_close()


@pytest.fixture
def razorpay() -> Razorpay:
    return Razorpay()


def opening(amount: int) -> Opening:
    return Opening(
        reference="r-1",
        amount=amount,
        currency="INR",
        title="Basic",
        flow="client",
        return_url="https://shop.example/pay/x/done",
        email="a@example.com",
        name="",
        notes={"payment": "p"},
    )


def says(stub: type[Stub], body: Any, status: int = 200, **headers: str) -> None:
    stub.answer = (status, body if isinstance(body, str) else json.dumps(body), headers)


def test_an_order_is_asked_for_in_paise_with_our_reference_and_automatic_capture(
    stub: type[Stub], razorpay: Razorpay
) -> None:
    says(stub, ORDER)

    fact = razorpay.start(opening(49900))

    [(method, path, headers, body)] = stub.asked
    assert (method, path) == ("POST", "/v1/orders")
    assert headers["Authorization"] == "Basic cnpwX3Rlc3Rfazpz"
    sent = json.loads(body)
    assert (sent["amount"], sent["currency"], sent["receipt"]) == (49900, "INR", "r-1")
    assert (sent["unique_receipt"], sent["payment"]["capture"]) == (True, "automatic")
    assert (fact.ref, fact.reference, fact.amount, fact.currency) == ("order_1", "r-1", 49900, "INR")


def test_a_refund_carries_our_id_as_header_note_and_receipt(stub: type[Stub], razorpay: Razorpay) -> None:
    refund_id = new_id()
    says(
        stub,
        {
            "id": "rfnd_1",
            "payment_id": "pay_1",
            "amount": 100,
            "currency": "INR",
            "status": "pending",
            "notes": {"refund": str(refund_id)},
        },
    )

    fact = razorpay.refund("pay_1", amount=100, currency="INR", refund_id=refund_id, reason="x" * 300)

    [(_, path, headers, body)] = stub.asked
    assert path == "/v1/payments/pay_1/refund"
    assert headers["X-Refund-Idempotency"] == str(refund_id)
    sent = json.loads(body)
    assert (sent["amount"], sent["receipt"], sent["notes"]["refund"]) == (100, str(refund_id), str(refund_id))
    assert len(sent["notes"]["reason"]) <= 256
    assert (fact.status, fact.refund_id) == (RefundStatus.SENT, refund_id)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, {"error": {"code": "BAD_REQUEST_ERROR", "description": "Authentication failed"}}, Misconfigured),
        (403, "<html>forbidden</html>", Misconfigured),
        (429, {"error": {"code": "BAD_REQUEST_ERROR", "description": "Too many requests"}}, Unreachable),
        (429, "<html>slow down</html>", Unreachable),
        (400, {"error": {"code": "BAD_REQUEST_ERROR", "description": "no"}}, Rejected),
        (400, "<html>bad request</html>", Unclear),
        (409, {"error": {"description": "another request with the same key is in progress"}}, Unclear),
        (500, {"error": {"code": "SERVER_ERROR", "description": "oops"}}, Unclear),
        (502, "<html>bad gateway</html>", Unclear),
        (504, "", Unclear),
        (301, "", Unclear),
        (200, "<html>hello</html>", Unclear),
        (200, "[]", Unclear),
        (200, "{}", Unclear),
        (200, {**ORDER, "amount": 499.0}, Unclear),
        (200, {**ORDER, "amount": "49900"}, Unclear),
        (200, {**ORDER, "amount": True}, Unclear),
        (200, {**ORDER, "amount": -1}, Unclear),
        (200, {**ORDER, "id": None}, Unclear),
        (200, {**ORDER, "currency": 7}, Unclear),
    ],
)
def test_each_answer_is_what_it_means_for_the_money(
    stub: type[Stub], razorpay: Razorpay, status: int, body: Any, expected: type[Exception]
) -> None:
    says(stub, body, status)

    with pytest.raises(expected):
        razorpay.start(opening(49900))


def test_the_refusals_words_survive(stub: type[Stub], razorpay: Razorpay) -> None:
    error = {"code": "BAD_REQUEST_ERROR", "description": "Too little", "field": "amount", "reason": "input_validation"}
    says(stub, {"error": error}, 400)

    with pytest.raises(Rejected) as refused:
        razorpay.start(opening(1))

    found = refused.value
    assert (str(found), found.status, found.code, found.field) == ("Too little", 400, "input_validation", "amount")


def test_retry_after_is_passed_on(stub: type[Stub], razorpay: Razorpay) -> None:
    says(stub, {}, 429, **{"Retry-After": "17"})

    with pytest.raises(Unreachable) as told:
        razorpay.fetch_attempt("pay_1")

    assert told.value.retry_after == 17


@pytest.mark.parametrize(
    ("changed", "status", "refunded"),
    [
        ({}, AttemptStatus.CAPTURED, 0),
        ({"status": "created", "captured": False}, AttemptStatus.CREATED, 0),
        ({"status": "authorized", "captured": False}, AttemptStatus.AUTHORIZED, 0),
        ({"status": "failed", "captured": False}, AttemptStatus.FAILED, 0),
        ({"amount_refunded": 100, "refund_status": "partial"}, AttemptStatus.CAPTURED, 100),
        ({"status": "refunded", "amount_refunded": 49900, "refund_status": "full"}, AttemptStatus.CAPTURED, 49900),
        ({"status": "refunded", "captured": False, "amount_refunded": 49900}, AttemptStatus.LAPSED, 0),
        ({"amount_refunded": None}, AttemptStatus.CAPTURED, 0),
        ({"currency": "inr"}, AttemptStatus.CAPTURED, 0),
    ],
)
def test_payment_states(
    stub: type[Stub], razorpay: Razorpay, changed: dict[str, Any], status: AttemptStatus, refunded: int
) -> None:
    says(stub, {**PAYMENT, **changed})

    fact = razorpay.fetch_attempt("pay_1")

    assert (fact.status, fact.refunded, fact.currency) == (status, refunded, "INR")


@pytest.mark.parametrize(
    ("told", "deducted", "status", "lost"),
    [
        ("open", 0, DisputeStatus.OPEN, 0),
        ("under_review", 0, DisputeStatus.OPEN, 0),
        ("won", 0, DisputeStatus.WON, 0),
        ("lost", 300, DisputeStatus.LOST, 300),
        ("lost", 0, DisputeStatus.LOST, 500),
        ("closed", 0, DisputeStatus.WON, 0),
        ("closed", 500, DisputeStatus.LOST, 500),
    ],
)
def test_dispute_states(
    stub: type[Stub], razorpay: Razorpay, told: str, deducted: int, status: DisputeStatus, lost: int
) -> None:
    says(
        stub,
        {
            "id": "disp_1",
            "payment_id": "pay_1",
            "amount": 500,
            "currency": "INR",
            "status": told,
            "amount_deducted": deducted,
        },
    )

    fact = razorpay.fetch_dispute("disp_1")

    assert (fact.status, fact.lost) == (status, lost)


def test_a_state_we_do_not_know_is_unclear_not_guessed(stub: type[Stub], razorpay: Razorpay) -> None:
    says(stub, {**PAYMENT, "status": "levitating"})

    with pytest.raises(Unclear):
        razorpay.fetch_attempt("pay_1")


@pytest.mark.parametrize("ref", ["", "../orders", "pay_1/refund", "pay 1", "p" * 65, "pay_é", "pay_1?x=1"])
def test_an_id_that_is_none_never_reaches_the_network(stub: type[Stub], razorpay: Razorpay, ref: str) -> None:
    with pytest.raises(Rejected):
        razorpay.fetch_attempt(ref)

    assert stub.asked == []


def test_nobody_listening_is_unreachable(razorpay: Razorpay, settings: Settings) -> None:
    settings.RAZORPAY_KEY_ID, settings.RAZORPAY_KEY_SECRET = "k", "s"
    settings.RAZORPAY_BASE_URL = "http://127.0.0.1:9"

    with pytest.raises(Unreachable):
        razorpay.fetch_attempt("pay_1")


def test_without_keys_nothing_is_sent(stub: type[Stub], razorpay: Razorpay, settings: Settings) -> None:
    settings.RAZORPAY_KEY_SECRET = ""

    assert not razorpay.is_configured()
    with pytest.raises(Misconfigured):
        razorpay.fetch_attempt("pay_1")
    assert stub.asked == []


def test_a_list_tells_whether_there_is_more(
    stub: type[Stub], razorpay: Razorpay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.gateways.razorpay.PAGE", 2)
    says(stub, {"entity": "collection", "count": 2, "items": [PAYMENT, {**PAYMENT, "order_id": None}]})

    page = razorpay.payments_since(1763700000, skip=4)

    assert stub.asked[0][1] == "/v1/payments?from=1763700000&count=2&skip=4"
    assert ([fact.start_ref for fact in page.items], page.next_skip) == (["order_1", ""], 6)
    says(stub, {"entity": "collection", "count": 1, "items": [PAYMENT]})
    assert razorpay.payments_since(0).next_skip is None


@pytest.mark.parametrize(
    ("url", "real"),
    [
        ("https://api.razorpay.com", True),
        ("https://razorpay.com", True),
        ("http://127.0.0.1:8001/razorpay", False),
        ("https://notrazorpay.com", False),
        ("https://razorpay.com.example.org", False),
    ],
)
def test_who_has_a_checkout_page_of_its_own(razorpay: Razorpay, settings: Settings, url: str, real: bool) -> None:
    settings.RAZORPAY_BASE_URL = url

    assert is_real() is real
    found = razorpay.checkout_url(
        StartFact("order_1", "r-1", 49900, "INR"), page_url="https://shop.example/pay/x", return_url=""
    )
    assert found == ("https://shop.example/pay/x" if real else f"{url}/checkout/order_1")


def test_the_registry_knows_it() -> None:
    assert "razorpay" in gateways.names()
    assert gateways.GATEWAYS["razorpay"].name == "razorpay"

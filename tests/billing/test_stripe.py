"""The Stripe class alone: what it makes of answers, good and bad, from a server that says what a test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs

import pytest
import stripe as sdk
from pytest_django import Settings

from billing import gateways
from billing.gateways.base import (
    AttemptStatus,
    DisputeStatus,
    Misconfigured,
    Opening,
    RefundStatus,
    Rejected,
    Repeated,
    StartFact,
    Unclear,
    Unreachable,
)
from billing.gateways.stripe import Stripe
from billing.gateways.stripe_wire import API_VERSION
from core.ids import new_id

INTENT = {
    "id": "pi_1",
    "object": "payment_intent",
    "amount": 999,
    "currency": "usd",
    "status": "requires_payment_method",
    "client_secret": "pi_1_secret_x",
    "metadata": {"reference": "r-1"},
    "last_payment_error": None,
}
SESSION = {
    "id": "cs_test_1",
    "object": "checkout.session",
    "amount_total": 999,
    "currency": "usd",
    "client_reference_id": "r-1",
    "status": "open",
    "payment_intent": None,
    "url": "https://checkout.stripe.com/c/pay/cs_test_1#x",
}
CHARGE = {
    "id": "ch_1",
    "object": "charge",
    "amount": 999,
    "amount_captured": 999,
    "amount_refunded": 0,
    "captured": True,
    "created": 1763700000,
    "currency": "usd",
    "disputed": False,
    "failure_code": None,
    "failure_message": None,
    "payment_intent": "pi_1",
    "payment_method_details": {"type": "card"},
    "outcome": {"reason": None},
    "refunded": False,
    "status": "succeeded",
}
REFUND = {
    "id": "re_1",
    "object": "refund",
    "amount": 100,
    "charge": "ch_1",
    "created": 1763700000,
    "currency": "usd",
    "metadata": {},
    "payment_intent": "pi_1",
    "status": "succeeded",
}
DISPUTE = {
    "id": "du_1",
    "object": "dispute",
    "amount": 999,
    "charge": "ch_1",
    "created": 1763700000,
    "currency": "usd",
    "evidence_details": {"due_by": 1764300000},
    "reason": "fraudulent",
    "status": "needs_response",
}


class Stub(BaseHTTPRequestHandler):
    """Answers by the first part of the path that fits; what fits none is the default answer."""

    answer: ClassVar[tuple[int, str, dict[str, str]]] = (200, "{}", {})
    answers: ClassVar[dict[str, Any]] = {}
    asked: ClassVar[list[tuple[str, str, dict[str, str], str]]] = []

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        Stub.asked.append((self.command, self.path, dict(self.headers), body))
        status, text, headers = Stub.answer
        for part, found in Stub.answers.items():
            if part in self.path:
                status, text, headers = 200, json.dumps(found), {}
                break
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
    settings.STRIPE_BASE_URL = f"http://127.0.0.1:{server.server_port}"
    settings.STRIPE_SECRET_KEY, settings.STRIPE_PUBLISHABLE_KEY = "sk_test_k", "pk_test_k"
    Stub.asked.clear()
    Stub.answers = {}
    yield Stub
    server.shutdown()
    server.server_close()


@pytest.fixture
def stripe() -> Stripe:
    return Stripe()


def says(stub: type[Stub], body: Any, status: int = 200, **headers: str) -> None:
    stub.answer = (status, body if isinstance(body, str) else json.dumps(body), headers)


def listed(*items: Any, has_more: bool = False) -> dict[str, Any]:
    return {"object": "list", "url": "/v1/x", "has_more": has_more, "data": list(items)}


def opening(flow: str = "client", reference: str = "r-1") -> Opening:
    return Opening(
        reference=reference,
        amount=999,
        currency="USD",
        title="Basic, 100 credits",
        flow=flow,
        return_url="https://shop.example/pay/x/done",
        email="alice@example.com",
        name="Alice",
        notes={"payment": "p"},
    )


def test_the_version_is_the_one_that_the_sdk_was_made_for() -> None:
    assert sdk.VERSION == "16.1.0"
    assert sdk.StripeClient("sk_test_k")._requestor.stripe_version == API_VERSION


def test_an_intent_is_asked_for_in_cents_under_our_reference(stub: type[Stub], stripe: Stripe) -> None:
    says(stub, INTENT)

    fact = stripe.start(opening())

    [(method, path, headers, body)] = stub.asked
    assert (method, path) == ("POST", "/v1/payment_intents")
    assert headers["Authorization"] == "Bearer sk_test_k"
    assert headers["Stripe-Version"] == API_VERSION
    assert headers["Idempotency-Key"] == "r-1"
    assert "X-Stripe-Client-Telemetry" not in headers
    assert parse_qs(body) == {
        "amount": ["999"],
        "currency": ["usd"],
        "automatic_payment_methods[enabled]": ["true"],
        "description": ["Basic, 100 credits"],
        "metadata[reference]": ["r-1"],
        "metadata[payment]": ["p"],
    }
    assert fact == StartFact("pi_1", "r-1", 999, "USD", secret="pi_1_secret_x")
    assert stripe.is_payable(fact, "client")
    assert not stripe.is_payable(fact, "hosted")
    assert stripe.client(fact) == {
        "payment_intent": "pi_1",
        "client_secret": "pi_1_secret_x",
        "publishable_key": "pk_test_k",
    }


def test_a_session_carries_our_reference_and_its_intent_too(stub: type[Stub], stripe: Stripe) -> None:
    says(stub, SESSION)

    fact = stripe.start(opening("hosted"))

    [(_, path, headers, body)] = stub.asked
    sent = {name: value for name, [value] in parse_qs(body).items()}
    assert (path, headers["Idempotency-Key"]) == ("/v1/checkout/sessions", "r-1")
    assert (sent["mode"], sent["client_reference_id"]) == ("payment", "r-1")
    assert sent["payment_intent_data[metadata][reference]"] == "r-1"
    assert sent["success_url"] == sent["cancel_url"] == "https://shop.example/pay/x/done"
    assert (sent["line_items[0][price_data][unit_amount]"], sent["line_items[0][quantity]"]) == ("999", "1")
    assert not any("payment_method_types" in name for name in sent)
    assert fact == StartFact("cs_test_1", "r-1", 999, "USD", url=SESSION["url"])
    assert stripe.checkout_url(fact, page_url="ours", return_url="") == SESSION["url"]
    assert stripe.client(fact) == {}


def test_a_refund_carries_our_id_as_key_and_note(stub: type[Stub], stripe: Stripe) -> None:
    refund_id = new_id()
    says(stub, REFUND | {"status": "pending", "metadata": {"refund": str(refund_id)}})

    fact = stripe.refund("ch_1", amount=100, currency="USD", refund_id=refund_id, reason="x" * 600)

    [(_, path, headers, body)] = stub.asked
    sent = {name: value for name, [value] in parse_qs(body).items()}
    assert (path, headers["Idempotency-Key"]) == ("/v1/refunds", str(refund_id))
    assert (sent["charge"], sent["amount"], len(sent["metadata[reason]"])) == ("ch_1", "100", 500)
    assert (fact.status, fact.refund_id, fact.attempt_ref) == (RefundStatus.SENT, refund_id, "ch_1")


def refusal(**more: Any) -> dict[str, Any]:
    return {"error": {"type": "invalid_request_error", "message": "no"} | more}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, refusal(), Misconfigured),
        (401, "<html>who?</html>", Misconfigured),
        (403, refusal(), Misconfigured),
        (429, refusal(), Unreachable),
        (429, "<html>slow down</html>", Unreachable),
        (400, refusal(code="amount_too_small"), Rejected),
        (400, refusal(type="idempotency_error"), Repeated),
        (402, refusal(type="card_error", code="card_declined"), Rejected),
        (404, refusal(code="resource_missing"), Rejected),
        (400, "<html>bad request</html>", Unclear),
        (409, refusal(code="idempotency_key_in_use"), Unclear),
        (500, refusal(type="api_error"), Unclear),
        (502, "<html>bad gateway</html>", Unclear),
        (504, "", Unclear),
        (301, "", Unclear),
        (200, "<html>hello</html>", Unclear),
        (200, "{}", Unclear),
        (200, {**INTENT, "amount": 9.99}, Unclear),
        (200, {**INTENT, "amount": "999"}, Unclear),
        (200, {**INTENT, "amount": -1}, Unclear),
        (200, {**INTENT, "amount": True}, Unclear),
        (200, {**INTENT, "id": None}, Unclear),
    ],
)
def test_what_an_answer_means_for_the_money(
    stub: type[Stub], stripe: Stripe, status: int, body: Any, expected: type[Exception]
) -> None:
    says(stub, body, status)

    with pytest.raises(expected) as raised:
        stripe.start(opening())

    assert type(raised.value) is expected
    assert len(stub.asked) == 1


def test_how_long_to_wait_is_taken_over(stub: type[Stub], stripe: Stripe) -> None:
    for told, wait in (("7", 7), ("99999", 3600), ("soon", None), ("9" * 50, None)):
        says(stub, refusal(), 429, **{"Retry-After": told})
        with pytest.raises(Unreachable) as raised:
            stripe.fetch_refund("re_1")
        assert raised.value.retry_after == wait


def test_nobody_listening_is_unreachable_and_no_keys_is_our_fault(
    stub: type[Stub], stripe: Stripe, settings: Settings
) -> None:
    settings.STRIPE_BASE_URL = "http://127.0.0.1:9"
    with pytest.raises(Unreachable):
        stripe.start(opening())
    settings.STRIPE_SECRET_KEY = ""
    with pytest.raises(Misconfigured):
        stripe.start(opening())
    assert not stripe.is_configured()
    assert stripe not in gateways.offered()


@pytest.mark.parametrize(
    ("change", "status", "amount"),
    [
        ({}, AttemptStatus.CAPTURED, 999),
        ({"amount_captured": 899}, AttemptStatus.CAPTURED, 899),
        ({"captured": False, "amount_captured": 0}, AttemptStatus.AUTHORIZED, 999),
        ({"captured": False, "amount_captured": 0, "refunded": True}, AttemptStatus.LAPSED, 999),
        ({"status": "pending", "captured": False}, AttemptStatus.CREATED, 999),
        ({"status": "failed", "captured": False}, AttemptStatus.FAILED, 999),
    ],
)
def test_what_a_charge_is(
    stub: type[Stub], stripe: Stripe, change: dict[str, Any], status: AttemptStatus, amount: int
) -> None:
    says(stub, CHARGE | change)

    fact = stripe.fetch_attempt("ch_1")

    assert (fact.status, fact.amount, fact.currency, fact.start_ref) == (status, amount, "USD", "pi_1")


@pytest.mark.parametrize(
    ("told", "status", "lost"),
    [
        ("needs_response", DisputeStatus.OPEN, 0),
        ("under_review", DisputeStatus.OPEN, 0),
        ("warning_needs_response", DisputeStatus.OPEN, 0),
        ("warning_under_review", DisputeStatus.OPEN, 0),
        ("warning_closed", DisputeStatus.WON, 0),
        ("prevented", DisputeStatus.WON, 0),
        ("won", DisputeStatus.WON, 0),
        ("lost", DisputeStatus.LOST, 999),
        ("appeal_under_review", DisputeStatus.LOST, 999),
    ],
)
def test_what_a_dispute_is(stub: type[Stub], stripe: Stripe, told: str, status: DisputeStatus, lost: int) -> None:
    says(stub, DISPUTE | {"status": told})

    fact = stripe.fetch_dispute("du_1")

    assert (fact.status, fact.lost, fact.respond_by) == (status, lost, 1764300000)


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ("pending", RefundStatus.SENT),
        ("requires_action", RefundStatus.SENT),
        ("succeeded", RefundStatus.PROCESSED),
        ("failed", RefundStatus.FAILED),
        ("canceled", RefundStatus.FAILED),
    ],
)
def test_what_a_refund_is(stub: type[Stub], stripe: Stripe, told: str, status: RefundStatus) -> None:
    says(stub, REFUND | {"status": told})
    assert stripe.fetch_refund("re_1").status is status


@pytest.mark.parametrize(
    ("ask", "item"),
    [
        (lambda stripe: stripe.fetch_attempt("x_1"), CHARGE | {"status": "new"}),
        (lambda stripe: stripe.fetch_refund("x_1"), REFUND | {"status": "new"}),
        (lambda stripe: stripe.fetch_dispute("x_1"), DISPUTE | {"status": "new"}),
    ],
)
def test_a_state_that_we_do_not_know_is_unclear(
    stub: type[Stub], stripe: Stripe, ask: Callable[[Stripe], Any], item: dict[str, Any]
) -> None:
    says(stub, item)
    with pytest.raises(Unclear):
        ask(stripe)


def test_a_session_nobody_tried_to_pay_on_is_one_call(stub: type[Stub], stripe: Stripe) -> None:
    says(stub, SESSION)

    seen = stripe.fetch("cs_test_1")

    assert (seen.start.reference, list(seen.attempts)) == ("r-1", [])
    assert len(stub.asked) == 1


def test_all_that_came_of_a_start_is_read_together(stub: type[Stub], stripe: Stripe) -> None:
    failed = CHARGE | {
        "id": "ch_0",
        "status": "failed",
        "captured": False,
        "outcome": {"reason": "insufficient_funds"},
        "failure_message": "Your card has insufficient funds.",
    }
    stub.answers = {
        "/charges": listed(CHARGE | {"disputed": True, "amount_refunded": 100}, failed),
        "/refunds": listed(REFUND),
        "/disputes": listed(DISPUTE),
        "/payment_intents/pi_1": INTENT | {"status": "succeeded"},
    }

    seen = stripe.fetch("pi_1")

    assert [(one.ref, one.status, one.start_ref) for one in seen.attempts] == [
        ("ch_1", AttemptStatus.CAPTURED, "pi_1"),
        ("ch_0", AttemptStatus.FAILED, "pi_1"),
    ]
    assert seen.attempts[0].refunded == 100
    assert seen.attempts[1].error_code == "insufficient_funds"
    assert [one.ref for one in seen.refunds] == ["re_1"]
    assert [one.ref for one in seen.disputes] == ["du_1"]


def test_a_failed_authentication_is_an_attempt_without_a_charge(stub: type[Stub], stripe: Stripe) -> None:
    error = {
        "code": "payment_intent_authentication_failure",
        "message": "The provided PaymentMethod has failed authentication.",
        "payment_method": {"id": "pm_1", "object": "payment_method", "type": "card", "created": 5},
    }
    stub.answers = {"/charges": listed(), "/payment_intents/pi_1": INTENT | {"last_payment_error": error}}

    [attempt] = stripe.fetch("pi_1").attempts

    assert (attempt.ref, attempt.status, attempt.amount) == ("pm_1", AttemptStatus.FAILED, 999)
    assert attempt.error_code == "payment_intent_authentication_failure"


def test_a_lost_start_is_found_by_its_reference_around_its_birth(stub: type[Stub], stripe: Stripe) -> None:
    reference = f"{new_id()}-1"
    stub.answers = {
        "/sessions": listed(),
        "/payment_intents": listed(INTENT, INTENT | {"id": "pi_2", "metadata": {"reference": reference}}),
    }

    found = stripe.find_start(reference)

    assert found is not None
    assert (found.ref, found.secret) == ("pi_2", "pi_1_secret_x")
    assert all("created" in path for _, path, _, _ in stub.asked)
    assert stripe.find_start(f"{new_id()}-1") is None


@pytest.mark.parametrize(("status", "is_quiet"), [("canceled", True), ("succeeded", False), ("processing", False)])
def test_what_is_closed_already_closes_quietly_what_is_paid_does_not(
    stub: type[Stub], stripe: Stripe, monkeypatch: pytest.MonkeyPatch, status: str, is_quiet: bool
) -> None:
    says(stub, refusal(code="payment_intent_unexpected_state"), 400)
    monkeypatch.setattr(stripe, "_read", lambda ref: INTENT | {"status": status})

    if is_quiet:
        stripe.close("pi_1")
    else:
        with pytest.raises(Rejected):
            stripe.close("pi_1")

    [(_, path, _, body)] = stub.asked
    assert (path, body) == ("/v1/payment_intents/pi_1/cancel", "cancellation_reason=abandoned")


@pytest.mark.parametrize("ref", ["", "../refunds", "pi_1/cancel", "pi 1", "x" * 200, "pï_1"])
def test_an_id_never_leads_elsewhere(stub: type[Stub], stripe: Stripe, ref: str) -> None:
    for ask in (stripe.fetch, stripe.fetch_attempt, stripe.fetch_refund, stripe.fetch_dispute, stripe.close):
        with pytest.raises(Rejected):
            ask(ref)
    assert not stub.asked


def test_lists_go_on_after_the_last_id(stub: type[Stub], stripe: Stripe) -> None:
    says(stub, listed(CHARGE, CHARGE | {"id": "ch_2"}, has_more=True))

    page = stripe.payments_since(1763700000)
    assert ([fact.ref for fact in page.items], page.next_skip) == (["ch_1", "ch_2"], "ch_2")
    says(stub, listed())
    assert stripe.payments_since(1763700000, skip="ch_2").next_skip is None

    query = parse_qs(stub.asked[-1][1].partition("?")[2])
    assert query == {"created[gte]": ["1763700000"], "limit": ["100"], "starting_after": ["ch_2"]}

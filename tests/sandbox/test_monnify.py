"""Monnify's simulator: its envelope, its token, naira on the wire, odd sums, refunds and signed webhooks."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

import pytest

from sandbox.webhooks import monnify_signature
from tests.sandbox.process import RunningSandbox, wait_for
from tests.sandbox.receiver import Receiver


def bearer(sandbox: RunningSandbox) -> dict[str, str]:
    keys = (sandbox.keys["MONNIFY_API_KEY"], sandbox.keys["MONNIFY_SECRET_KEY"])
    body = sandbox.ask("POST", "/monnify/api/v1/auth/login", {}, auth=keys)["responseBody"]
    assert 3000 < body["expiresIn"] <= 3600
    return {"Authorization": f"Bearer {body['accessToken']}"}


def call(sandbox: RunningSandbox, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
    answer = sandbox.call(method, f"/monnify/api{path}", body, headers=bearer(sandbox), **options)
    return answer.status_code, answer.json()


def init(sandbox: RunningSandbox, amount: Any = 3000, reference: str = "topup-77", **more: Any) -> tuple[int, Any]:
    body = {
        "amount": amount,
        "customerName": "A B",
        "customerEmail": "a@example.com",
        "paymentReference": reference,
        "paymentDescription": "Credits",
        "currencyCode": "NGN",
        "contractCode": sandbox.keys["MONNIFY_CONTRACT_CODE"],
        "redirectUrl": "https://app.example/done",
    }
    return call(sandbox, "POST", "/v1/merchant/transactions/init-transaction", body | more)


def opened(sandbox: RunningSandbox, amount: Any = 3000, **more: Any) -> str:
    status, told = init(sandbox, amount, **more)
    assert (status, told["requestSuccessful"], told["responseCode"]) == (200, True, "0")
    return str(told["responseBody"]["transactionReference"])


def query(sandbox: RunningSandbox, ref: str) -> Any:
    return call(sandbox, "GET", f"/v2/transactions/{quote(ref, safe='')}")[1]["responseBody"]


def test_the_published_signature_holds() -> None:
    body = b'{"eventType":"SUCCESSFUL_TRANSACTION","eventData":{"paymentReference":"topup-77"}}'

    assert monnify_signature("monnify_secret_example", body) == (
        "ab0a403a12d2ff4664692189d37e1a67f4b8b2bdbd23807b6bb380fd8ceabed6"
        "8f26789a8b879f1ae9becd6257aec4cfce154c87bff2141b3869b34169500841"
    )


def test_a_transaction_opens_pays_and_tells(sandbox: RunningSandbox, receiver: Receiver) -> None:
    status, told = init(sandbox, 3000.5)
    assert status == 200
    body = told["responseBody"]
    ref = body["transactionReference"]
    assert re.fullmatch(r"MNFY\|65\|\d{14}\|\d{6}", ref)
    assert body["checkoutUrl"].endswith(quote(ref, safe=""))
    assert (query(sandbox, ref)["paymentStatus"], query(sandbox, ref)["amountPaid"]) == ("PENDING", "0.00")

    assert sandbox.monnify_checkout(ref)["status"] == "PAID"

    seen = query(sandbox, ref)
    assert (seen["amountPaid"], seen["totalPayable"], seen["paymentReference"]) == ("3000.50", "3000.50", "topup-77")
    assert re.fullmatch(r"\d\d/\d\d/\d{4} \d\d:\d\d:\d\d [AP]M", seen["paidOn"])
    by_ours = call(sandbox, "GET", "/v2/merchant/transactions/query", params={"paymentReference": "topup-77"})[1]
    assert by_ours["responseBody"] == seen
    [sent] = wait_for(lambda: receiver.about("topup-77"), "the webhook")
    assert sent.path == "/api/v1/webhooks/monnify"
    assert sent.headers["monnify-signature"] == monnify_signature(sandbox.keys["MONNIFY_SECRET_KEY"], sent.body)
    assert sent.json["eventType"] == "SUCCESSFUL_TRANSACTION"
    assert sent.json["eventData"]["amountPaid"] == 3000.5  # a number here, a string in queries
    assert isinstance(sent.json["eventData"]["settlementAmount"], str)


def test_a_reference_is_taken_once(sandbox: RunningSandbox) -> None:
    opened(sandbox)

    status, told = init(sandbox)

    assert (status, told["requestSuccessful"]) == (422, False)


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount": 19.99},
        {"amount": "3000"},
        {"amount": 1.234},
        {"amount": True},
        {"currencyCode": "USD"},
        {"contractCode": "1"},
        {"customerEmail": ""},
        {"customerName": "A"},
        {"paymentDescription": "x"},
        {"paymentMethods": ["CASH"]},
    ],
)
def test_bad_transactions_are_refused_in_the_envelope(sandbox: RunningSandbox, wrong: dict[str, Any]) -> None:
    status, told = init(sandbox, **{"amount": 3000} | wrong)

    assert (400 <= status < 500, told["requestSuccessful"], "responseBody" in told) == (True, False, False)


def test_without_a_token_or_with_an_old_one_it_is_401(sandbox: RunningSandbox) -> None:
    path = "/monnify/api/v1/refunds"
    assert sandbox.call("GET", path).status_code == 401
    token = bearer(sandbox)
    assert sandbox.call("GET", path, headers=dict(token)).status_code == 200
    sandbox.advance(3600)
    assert sandbox.call("GET", path, headers=dict(token)).status_code == 401
    assert sandbox.call("POST", "/monnify/api/v1/auth/login", {}, auth=("a", "b")).status_code == 401


def test_an_unencoded_reference_is_no_path(sandbox: RunningSandbox) -> None:
    ref = opened(sandbox)

    assert query(sandbox, ref)["transactionReference"] == ref
    assert call(sandbox, "GET", "/v2/transactions/MNFY")[0] == 404


@pytest.mark.parametrize(
    ("amount", "status", "paid"),
    [
        (3000.01, "FAILED", "0.00"),
        (3000.05, "PARTIALLY_PAID", "2999.05"),
        (3000.06, "OVERPAID", "3001.06"),
    ],
)
def test_magic_amounts(sandbox: RunningSandbox, amount: float, status: str, paid: str) -> None:
    ref = opened(sandbox, amount)

    sandbox.monnify_checkout(ref)

    assert (query(sandbox, ref)["paymentStatus"], query(sandbox, ref)["amountPaid"]) == (status, paid)


def test_webhooks_repeat_get_lost_and_come_first_by_amount(sandbox: RunningSandbox, receiver: Receiver) -> None:
    five, none, first = (opened(sandbox, 3000 + n / 100, reference=f"r-{n}") for n in (3, 4, 7))

    for ref in (none, five, first):
        sandbox.monnify_checkout(ref)

    assert len(receiver.about(first)) == 1  # before the checkout answered
    wait_for(lambda: len(receiver.about(five)) == 5, "five webhooks")
    assert receiver.about(none) == []


def test_a_late_payment_comes_later(sandbox: RunningSandbox) -> None:
    ref = opened(sandbox, 3000.02)

    assert sandbox.monnify_checkout(ref)["status"] == "PENDING"
    sandbox.advance(31)

    wait_for(lambda: query(sandbox, ref)["paymentStatus"] == "PAID", "the payment")


@pytest.mark.parametrize(("act", "status"), [("fail", "FAILED"), ("cancel", "CANCELLED"), ("abandon", "PENDING")])
def test_what_was_not_paid_is_told_to_nobody(
    sandbox: RunningSandbox, receiver: Receiver, act: str, status: str
) -> None:
    ref = opened(sandbox)

    sandbox.monnify_checkout(ref, act)

    assert query(sandbox, ref)["paymentStatus"] == status
    assert receiver.about(ref) == []


def test_it_expires_after_forty_minutes(sandbox: RunningSandbox) -> None:
    ref = opened(sandbox)

    sandbox.advance(40 * 60 + 1)

    wait_for(lambda: query(sandbox, ref)["paymentStatus"] == "EXPIRED", "expiry")


def test_the_search_pages_from_the_newest(sandbox: RunningSandbox) -> None:
    refs = [opened(sandbox, reference=f"r-{n}") for n in range(5)]

    pages = [
        call(sandbox, "GET", "/v1/transactions/search", params={"page": n, "size": 2, "from": 1})[1]["responseBody"]
        for n in range(3)
    ]

    assert [item["transactionReference"] for page in pages for item in page["content"]] == refs[::-1]
    assert [page["last"] for page in pages] == [False, False, True]
    none = call(sandbox, "GET", "/v1/transactions/search", params={"from": 4_000_000_000_000})[1]["responseBody"]
    assert (none["content"], none["totalElements"]) == ([], 0)


def refund(sandbox: RunningSandbox, ref: str, amount: Any, reference: str = "rf-1", **more: Any) -> tuple[int, Any]:
    body = {
        "transactionReference": ref,
        "refundReference": reference,
        "refundAmount": amount,
        "refundReason": "asked",
        "customerNote": "Refund",
    }
    return call(sandbox, "POST", "/v1/refunds/initiate-refund", body | more)


def test_refunds_follow_the_published_codes(sandbox: RunningSandbox, receiver: Receiver) -> None:
    ref = opened(sandbox)
    assert refund(sandbox, ref, 1000)[1]["responseCode"] == "R2"  # nobody has paid
    sandbox.monnify_checkout(ref)
    assert refund(sandbox, "MNFY|x", 1000)[1]["responseCode"] == "R1"
    assert refund(sandbox, ref, 3000.01)[1]["responseCode"] == "R3"
    assert refund(sandbox, ref, 99.99)[1]["responseCode"] == "R4"
    assert refund(sandbox, ref, 1000, refundReason="x" * 65)[1]["responseCode"] == "R8"

    status, told = refund(sandbox, ref, 1000)

    assert (status, told["responseBody"]["refundType"]) == (200, "PARTIAL_REFUND")
    assert refund(sandbox, ref, 1000)[1]["responseCode"] == "R9"
    assert refund(sandbox, ref, 2500, "rf-2")[1]["responseCode"] == "R12"
    assert call(sandbox, "GET", "/v1/refunds/rf-1")[1]["responseBody"]["refundStatus"] == "COMPLETED"
    assert call(sandbox, "GET", "/v1/refunds/rf-9")[1]["responseCode"] == "R7"
    [sent] = wait_for(lambda: receiver.about("rf-1"), "the webhook")
    assert (sent.json["eventType"], sent.json["eventData"]["refundStatus"]) == ("SUCCESSFUL_REFUND", "COMPLETED")
    assert "paymentReference" not in sent.json["eventData"]


def test_a_card_payment_is_not_refunded(sandbox: RunningSandbox) -> None:
    ref = opened(sandbox)
    sandbox.monnify_checkout(ref, method="CARD")

    assert refund(sandbox, ref, 1000)[1]["responseCode"] == "R2"


def test_the_dashboard_refunds_and_reverses(sandbox: RunningSandbox, receiver: Receiver) -> None:
    ref = opened(sandbox)
    sandbox.monnify_checkout(ref)
    made = sandbox.monnify_dashboard("transactions", ref, "refund", amount=100_000)
    assert made["refundAmount"] == 1000
    sandbox.monnify_dashboard("refunds", made["refundReference"], "fail")
    assert wait_for(lambda: [one for one in receiver.received if b"FAILED_REFUND" in one.body], "the failure")

    assert sandbox.monnify_dashboard("transactions", ref, "reverse")["paymentStatus"] == "REVERSED"

    assert wait_for(lambda: [one for one in receiver.received if b"REVERSED_TRANSACTION" in one.body], "the reversal")


def test_pages_open(sandbox: RunningSandbox) -> None:
    ref = opened(sandbox)
    page = sandbox.session.get(f"{sandbox.base_url}/monnify/checkout/{quote(ref, safe='')}")
    assert (page.status_code, "3,000.00 NGN" in page.text) == (200, True)
    assert sandbox.session.get(f"{sandbox.base_url}/monnify/dashboard").status_code == 200
    assert sandbox.session.get(f"{sandbox.base_url}/monnify/checkout/nobody").status_code == 404
    led = sandbox.session.post(f"{sandbox.base_url}/monnify/checkout/{quote(ref, safe='')}/pay", allow_redirects=False)
    assert led.headers["Location"] == "https://app.example/done?paymentReference=topup-77"


def test_bodies_that_are_no_json_are_refused(sandbox: RunningSandbox) -> None:
    for raw in (b"{", b"[]", b"\xff"):
        answer = sandbox.session.post(
            f"{sandbox.base_url}/monnify/api/v1/merchant/transactions/init-transaction",
            data=raw,
            headers=bearer(sandbox),
        )
        assert (answer.status_code, json.loads(answer.content)["requestSuccessful"]) == (400, False)

"""What is Monnify's own: naira on the wire, a token, one reference once, odd sums, reversals, refunds by request."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

import pytest
from django.test import Client
from pytest_django import Settings

from accounts.models import User
from billing import gateways, ledger, payments, reconcile, refunds
from billing.errors import RefundNotPossible
from billing.gateways import monnify
from billing.gateways.base import AttemptStatus, Misconfigured, Opening, RefundStatus, Rejected, Unclear
from billing.gateways.monnify import Monnify, verify_webhook
from billing.models import Break, Payment, PaymentAttempt, Refund
from core.ids import new_id
from core.money import major, minor
from inbox.deliveries import Verdict
from notifications.models import Mail
from tests import books
from tests.billing.buying import fresh
from tests.billing.given import held, house, wallet
from tests.people import api
from tests.sandbox.process import RunningSandbox, wait_for

pytestmark = pytest.mark.django_db

TOP_UP = "wallet:primary:500000"


def begin(user: User, amount: int = 500_000, **more: Any) -> tuple[Payment, str]:
    payment = payments.start(user=user, item=f"wallet:primary:{amount}", gateway="monnify", **more).payment
    return payment, str(payment.starts.get().ref)


def bought(sandbox: RunningSandbox, user: User, *, sent: int = 500_000, **form: Any) -> tuple[Payment, str]:
    payment, ref = begin(user)
    sandbox.monnify_checkout(ref, amount=sent, **form)
    return payments.refresh(payment), ref


def status_of(sandbox: RunningSandbox, ref: str) -> str:
    return str(sandbox.ask("GET", f"/monnify/checkout/{quote(ref, safe='')}")["paymentStatus"])


def balance(user: User) -> int:
    return wallet(user, "primary").balance or 0


# --- Naira ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "kobo"),
    [("30.00", 3_000), (3000, 300_000), ("0.01", 1), ("1000000", 100_000_000), ("20.1", 2_010), ("1e3", 100_000)],
)
def test_naira_become_kobo_exactly(written: Any, kobo: int) -> None:
    assert minor(written, "NGN") == kobo


@pytest.mark.parametrize("written", ["30.001", "", "x", "NaN", "Infinity", None, True, 3.5, "1,000.00", [], {}])
def test_what_is_no_amount_is_none(written: Any) -> None:
    with pytest.raises(ValueError, match="amount"):
        minor(written, "NGN")


@pytest.mark.parametrize("amount", [1, 9, 10, 99, 100, 101, 4_730, 100_000_000, 99_999_999_999_999])
@pytest.mark.parametrize("unit", ["NGN", "JPY", "KWD"])
def test_minor_units_go_out_and_come_back(amount: int, unit: str) -> None:
    assert minor(major(amount, unit), unit) == amount


# --- The class alone, beside a server that says what a test wants -----------------------------------------------------


class Stub(BaseHTTPRequestHandler):
    answers: ClassVar[dict[str, tuple[int, str]]] = {}
    asked: ClassVar[list[tuple[str, str, str, bytes]]] = []

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        Stub.asked.append((self.command, self.path, self.headers.get("Authorization", ""), body))
        status, text = Stub.answers.get(urlsplit(self.path).path, (404, "{}"))
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    do_POST = do_GET

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def stub(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Stub]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings.MONNIFY_BASE_URL = f"http://127.0.0.1:{server.server_port}"
    settings.MONNIFY_API_KEY, settings.MONNIFY_SECRET_KEY = "MK_TEST_K", "s"
    settings.MONNIFY_CONTRACT_CODE, settings.MONNIFY_REFUNDS = "1000000001", True
    monkeypatch.setattr(monnify, "_token", None)
    Stub.asked.clear()
    Stub.answers.clear()
    says("/api/v1/auth/login", {"accessToken": "t1", "expiresIn": 3567})
    yield Stub
    server.shutdown()
    server.server_close()


def says(path: str, body: Any, status: int = 200, *, raw: str | None = None) -> None:
    envelope = {"requestSuccessful": True, "responseMessage": "success", "responseCode": "0", "responseBody": body}
    Stub.answers[path] = (status, json.dumps(envelope) if raw is None else raw)


REF = "MNFY|65|20261121090000|000123"
PATH = "/api/v2/transactions/MNFY%7C65%7C20261121090000%7C000123"
PAID = {
    "transactionReference": REF,
    "paymentReference": "topup-77",
    "amountPaid": "30.00",
    "totalPayable": "30.00",
    "paidOn": "21/01/2026 03:49:28 PM",
    "paymentStatus": "PAID",
    "currency": "NGN",
    "paymentMethod": "CARD",
}


def test_naira_go_out_as_decimals_and_never_as_kobo(stub: type[Stub]) -> None:
    path = "/api/v1/merchant/transactions/init-transaction"
    says(path, {"transactionReference": REF, "paymentReference": "p-1", "checkoutUrl": "https://pay.example/x"})

    fact = Monnify().start(
        Opening("p-1", 300_050, "NGN", "₦3,000.50", "hosted", "https://shop.example/done", "a@example.com", "")
    )

    [login, init] = stub.asked
    assert login[:3] == ("POST", "/api/v1/auth/login", "Basic TUtfVEVTVF9LOnM=")
    assert (init[0], init[1], init[2]) == ("POST", path, "Bearer t1")
    assert b'"amount":3000.50,' in init[3]
    sent = json.loads(init[3])
    assert (sent["currencyCode"], sent["contractCode"], sent["paymentReference"]) == ("NGN", "1000000001", "p-1")
    assert sent["customerName"] == sent["customerEmail"] == "a@example.com"  # a name has three letters at least
    assert (fact.ref, fact.reference, fact.amount, fact.url) == (REF, "p-1", 300_050, "https://pay.example/x")


def test_the_bar_in_a_reference_is_encoded(stub: type[Stub]) -> None:
    says(PATH, PAID)

    seen = Monnify().fetch(REF)

    assert stub.asked[-1][1] == PATH
    [attempt] = seen.attempts
    assert (attempt.status, attempt.amount, attempt.currency, attempt.at) == (
        AttemptStatus.CAPTURED,
        3_000,
        "NGN",
        1_769_006_968,  # 14:49:28 UTC: Lagos is an hour ahead
    )


def test_numbers_that_no_float_could_carry_stay_exact(stub: type[Stub]) -> None:
    says(PATH, None, raw=json.dumps({"requestSuccessful": True, "responseBody": PAID | {"amountPaid": 0}}).replace(
        '"amountPaid": 0', '"amountPaid": 90071992547409.93'))  # fmt: skip

    [attempt] = Monnify().fetch(REF).attempts

    assert attempt.amount == 9_007_199_254_740_993


def test_a_login_serves_many_calls_and_is_renewed_when_refused(stub: type[Stub]) -> None:
    says(PATH, PAID)
    for _ in range(3):
        Monnify().fetch(REF)
    assert [path for _, path, _, _ in stub.asked].count("/api/v1/auth/login") == 1

    stub.answers[PATH] = (401, "{}")
    says("/api/v1/auth/login", {"accessToken": "t2", "expiresIn": 3567})
    with pytest.raises(Misconfigured):
        Monnify().fetch(REF)

    assert [who for _, path, who, _ in stub.asked if path == PATH][-2:] == ["Bearer t1", "Bearer t2"]
    assert [path for _, path, _, _ in stub.asked].count("/api/v1/auth/login") == 2


def test_a_login_that_ends_soon_is_not_kept(stub: type[Stub]) -> None:
    says("/api/v1/auth/login", {"accessToken": "t1", "expiresIn": 30})
    says(PATH, PAID)

    Monnify().fetch(REF)
    Monnify().fetch(REF)

    assert [path for _, path, _, _ in stub.asked].count("/api/v1/auth/login") == 2


@pytest.mark.parametrize(
    ("status", "raw", "expected"),
    [
        (200, '{"requestSuccessful": false, "responseMessage": "no", "responseCode": "99"}', Rejected),
        (404, '{"requestSuccessful": false, "responseMessage": "no", "responseCode": "99"}', Rejected),
        (200, '{"responseBody": {}}', Unclear),
        (200, '{"requestSuccessful": true}', Unclear),
        (200, "[]", Unclear),
        (200, "<html>", Unclear),
        (200, "[" * 100_000, Unclear),
        (503, '{"requestSuccessful": false}', Unclear),
        (302, "", Unclear),
    ],
)
def test_the_envelope_decides(stub: type[Stub], status: int, raw: str, expected: type[Exception]) -> None:
    stub.answers[PATH] = (status, raw)

    with pytest.raises(expected):
        Monnify().fetch(REF)


@pytest.mark.parametrize(
    "odd",
    [
        {"paymentStatus": "SOMETHING_NEW"},
        {"paymentStatus": None},
        {"amountPaid": "30.001"},
        {"amountPaid": "-30.00"},
        {"amountPaid": "abc"},
        {"transactionReference": ""},
        {"totalPayable": []},
    ],
)
def test_what_we_do_not_understand_is_unclear(stub: type[Stub], odd: dict[str, Any]) -> None:
    says(PATH, PAID | odd)

    with pytest.raises(Unclear):
        Monnify().fetch(REF)


def test_a_used_refund_reference_is_our_own_first_try(stub: type[Stub]) -> None:
    refund_id = new_id()
    says("/api/v1/refunds/initiate-refund", None, 422, raw=json.dumps(
        {"requestSuccessful": False, "responseMessage": "used", "responseCode": "R9"}))  # fmt: skip
    told = {
        "refundReference": str(refund_id),
        "transactionReference": REF,
        "refundAmount": 100,
        "refundStatus": "PENDING",
    }
    says(f"/api/v1/refunds/{refund_id}", told)

    fact = Monnify().refund(REF, amount=10_000, currency="NGN", refund_id=refund_id, reason="x" * 300)

    assert (fact.status, fact.refund_id, fact.amount) == (RefundStatus.SENT, refund_id, 10_000)
    sent = json.loads(next(body for _, path, _, body in stub.asked if path.endswith("initiate-refund")))
    assert (sent["refundAmount"], len(sent["refundReason"]), len(sent["customerNote"]) <= 16) == (100.0, 64, True)


def test_the_published_vector_of_the_webhook_holds(settings: Settings) -> None:
    settings.MONNIFY_SECRET_KEY = "monnify_secret_example"
    body = b'{"eventType":"SUCCESSFUL_TRANSACTION","eventData":{"paymentReference":"topup-77"}}'
    signature = (
        "ab0a403a12d2ff4664692189d37e1a67f4b8b2bdbd23807b6bb380fd8ceabed6"
        "8f26789a8b879f1ae9becd6257aec4cfce154c87bff2141b3869b34169500841"
    )

    assert verify_webhook({"monnify-signature": signature}, body, now=0) is Verdict.VALID
    assert verify_webhook({"Monnify-Signature": signature}, body, now=0) is Verdict.VALID
    assert verify_webhook({"monnify-signature": signature}, body + b" ", now=0) is Verdict.INVALID
    assert verify_webhook({}, body, now=0) is Verdict.INVALID
    settings.MONNIFY_SECRET_KEY = ""
    assert verify_webhook({"monnify-signature": signature}, body, now=0) is Verdict.NOT_CONFIGURED


# --- Buying -----------------------------------------------------------------------------------------------------------


def test_a_wallet_is_topped_up_on_the_hosted_page(alice: User, sandbox: RunningSandbox) -> None:
    body = {"item": TOP_UP, "gateway": "monnify", "flow": "hosted"}
    told = api(alice, **{"Idempotency-Key": "k"}).post("/api/v1/payments", body).json()

    payment = Payment.objects.get()
    ref = payment.starts.get().ref
    assert told["client"] == {"transaction_reference": ref}
    assert told["checkout_url"].startswith(f"{sandbox.base_url}/monnify/checkout/MNFY%7C")
    assert (told["amount"], told["currency"]) == (500_000, "NGN")
    open_for_s = (payment.expires_at - payment.created_at).total_seconds()
    assert 2_390 < open_for_s < 2_410
    pressed = sandbox.session.post(f"{told['checkout_url']}/pay", allow_redirects=False)
    back = pressed.headers["Location"]
    assert (pressed.status_code, "paymentReference=" in back) == (303, True)

    shown = Client().get(f"{urlsplit(back).path}?{urlsplit(back).query}")

    assert (shown.status_code, fresh(payment).state, balance(alice)) == (200, "succeeded", 500_000)
    assert house("gateway_monnify", "NGN") == -500_000
    books.check()


def test_our_own_page_leads_to_the_gateways(alice: User, sandbox: RunningSandbox) -> None:
    from billing import checkouts

    payment, _ = begin(alice)
    page = urlsplit(checkouts.page_url(payment.pk)).path

    led = Client().get(page)

    assert (led.status_code, led["Location"]) == (302, payment.starts.get().url)
    payment.starts.update(url="")
    assert Client().get(page).status_code == 200


def test_what_the_browser_brings_back_is_not_believed(alice: User, sandbox: RunningSandbox) -> None:
    from billing import checkouts

    payment, ref = begin(alice)
    page = urlsplit(checkouts.done_url(payment.pk)).path

    Client().get(f"{page}?paymentReference={payment.pk}-1&paymentStatus=PAID&transactionReference={ref}")

    assert (fresh(payment).state, balance(alice)) == ("pending", 0)


@pytest.mark.parametrize(("act", "mails"), [("fail", 1), ("cancel", 0), ("abandon", 0)])
def test_what_is_not_paid_stays_pending_until_its_time_is_over(
    alice: User, sandbox: RunningSandbox, act: str, mails: int
) -> None:
    payment, ref = begin(alice)
    sandbox.monnify_checkout(ref, act)

    payments.refresh(payment)

    assert (fresh(payment).state, balance(alice)) == ("pending", 0)
    assert Mail.objects.filter(name="payment-failed").count() == mails
    Payment.objects.update(expires_at="2020-01-01T00:00Z", next_at="2020-01-01T00:00Z")
    reconcile.poll()
    assert fresh(payment).state == "expired"
    sandbox.monnify_dashboard("transactions", ref, "pay")  # late money is money
    payments.refresh(payment)
    assert (fresh(payment).state, balance(alice)) == ("succeeded", 500_000)
    books.check()


def test_a_transaction_expires_at_monnify_too(alice: User, sandbox: RunningSandbox) -> None:
    payment, ref = begin(alice)

    sandbox.advance(41 * 60)

    wait_for(lambda: status_of(sandbox, ref) == "EXPIRED", "the transaction to expire")
    assert payments.refresh(payment).state == "pending"


def test_overpaid_settles_and_files_the_excess(alice: User, sandbox: RunningSandbox) -> None:
    payment, _ = bought(sandbox, alice, sent=520_000)

    assert (payment.state, payment.received, balance(alice)) == ("succeeded", 520_000, 500_000)
    filed = Break.objects.get()
    assert (filed.kind, filed.amount, filed.currency) == ("overpaid", 20_000, "NGN")
    books.check()


def test_partially_paid_grants_nothing_until_the_rest_comes(alice: User, sandbox: RunningSandbox) -> None:
    payment, ref = bought(sandbox, alice, sent=300_000)
    assert (payment.state, payment.received, balance(alice)) == ("pending", 300_000, 0)
    filed = Break.objects.get()
    assert (filed.kind, filed.amount) == ("underpaid", 300_000)
    payments.refresh(payment)
    books.check()

    sandbox.monnify_checkout(ref)  # the rest, to the same account
    payments.refresh(payment)
    payments.refresh(payment)

    assert (fresh(payment).state, fresh(payment).received, balance(alice)) == ("succeeded", 500_000, 500_000)
    first, second = PaymentAttempt.objects.order_by("pk")
    assert (first.ref, first.amount) == (ref, 300_000)
    assert (second.ref, second.amount) == (f"{ref}+300000", 200_000)
    filed.refresh_from_db()
    assert filed.resolution == "the rest has come"
    books.check()


def test_the_walk_sees_a_rest_that_came_after_a_day(alice: User, sandbox: RunningSandbox) -> None:
    payment, ref = bought(sandbox, alice, sent=300_000)
    payments.cancel(payment)
    Payment.objects.update(next_at=None)
    sandbox.monnify_checkout(ref)

    reconcile.walk()

    assert (fresh(payment).state, balance(alice)) == ("succeeded", 500_000)
    books.check()


def test_a_second_whole_transfer_is_sent_back(alice: User, sandbox: RunningSandbox, settings: Settings) -> None:
    settings.MONNIFY_REFUNDS = True
    payment, ref = bought(sandbox, alice)

    sandbox.monnify_checkout(ref, again=1)
    payments.refresh(payment)
    refunds.send_due()
    payments.refresh(payment)

    refund = Refund.objects.get()
    assert (refund.origin, refund.amount, refund.state) == ("surplus", 500_000, "processed")
    assert (fresh(payment).state, balance(alice), house("gateway_monnify", "NGN")) == ("succeeded", 500_000, -500_000)
    books.check()


def test_a_reversal_takes_back_what_it_brought(alice: User, sandbox: RunningSandbox) -> None:
    payment, ref = bought(sandbox, alice)
    ledger.capture(key=held(alice, 100_000, unit="NGN", wallet_kind="primary"))

    sandbox.monnify_dashboard("transactions", ref, "reverse")
    payments.refresh(payment)
    payments.refresh(payment)

    row = fresh(payment)
    assert (row.state, row.refunded, row.taken, balance(alice)) == ("refunded", 500_000, 500_000, 0)
    assert (Refund.objects.get().origin, Refund.objects.get().ref) == ("gateway", f"reversal:{ref}")
    books.check()


def test_a_payment_first_seen_reversed_brings_nothing_and_promises_nothing(
    alice: User, sandbox: RunningSandbox
) -> None:
    payment, ref = begin(alice)
    sandbox.monnify_checkout(ref)
    sandbox.monnify_dashboard("transactions", ref, "reverse")

    payments.refresh(payment)

    assert (fresh(payment).state, balance(alice)) == ("refunded", 0)
    assert not Mail.objects.filter(name="payment-confirmation").exists()
    books.check()


# --- Refunds ----------------------------------------------------------------------------------------------------------


def test_refunds_are_off_until_monnify_has_switched_them_on(
    alice: User, finance: User, sandbox: RunningSandbox
) -> None:
    payment, _ = bought(sandbox, alice)

    with pytest.raises(RefundNotPossible, match="by hand"):
        refunds.request(payment_id=payment.pk, amount=500_000, reason="asked", actor=finance)

    assert not Refund.objects.exists()
    assert sandbox.requests(provider="monnify", path="refunds") == []
    books.check()


def test_a_card_payment_cannot_be_refunded_and_nothing_changes(
    alice: User, finance: User, sandbox: RunningSandbox, settings: Settings
) -> None:
    settings.MONNIFY_REFUNDS = True
    payment, _ = bought(sandbox, alice, method="CARD")

    refund = refunds.request(payment_id=payment.pk, amount=500_000, reason="asked", actor=finance)

    assert (refund.state, refund.error_code) == ("failed", "R2")
    assert (fresh(payment).state, fresh(payment).refunding, balance(alice)) == ("succeeded", 0, 500_000)
    assert Break.objects.get().kind == "refund_failed"
    books.check()


@pytest.mark.parametrize(("kobo", "end"), [(100_001, "failed"), (100_002, "processed")])
def test_a_refund_that_ends_later_is_asked_about(
    alice: User, finance: User, sandbox: RunningSandbox, settings: Settings, kobo: int, end: str
) -> None:
    settings.MONNIFY_REFUNDS = True
    payment, _ = bought(sandbox, alice)
    refund = refunds.request(payment_id=payment.pk, amount=kobo, reason="asked", actor=finance)
    assert (refund.state, balance(alice)) == ("sent", 500_000 - kobo)
    sandbox.advance(30)

    def has_ended() -> bool:
        Refund.objects.update(next_at="2020-01-01T00:00Z")
        refunds.send_due()
        return Refund.objects.get().state == end

    wait_for(has_ended, f"the refund to be {end}")
    assert balance(alice) == (500_000 if end == "failed" else 500_000 - kobo)
    books.check()


def test_strangers_cannot_look(alice: User, bob: User, sandbox: RunningSandbox) -> None:
    payment, _ = begin(alice)

    assert api(bob).post(f"/api/v1/payments/{payment.pk}/verify", {}).status_code == 404
    assert gateways.get("monnify").check_client({"razorpay_signature": "x"}, refs=["x"]) is False

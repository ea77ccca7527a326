"""What every gateway must do alike, against its sandbox: opened, found, paid, refunded, listed, failing, told of."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from pytest_django import Settings

from accounts.models import User
from billing import gateways, payments, reconcile, refunds
from billing.errors import CurrencyNotSold, GatewayUnavailable, RefundNotPossible
from billing.gateways import monnify, razorpay, stripe_wire
from billing.gateways.base import (
    AttemptFact,
    AttemptStatus,
    Gateway,
    Misconfigured,
    Opening,
    Page,
    RefundFact,
    RefundStatus,
    Rejected,
    Repeated,
    StartFact,
    Unclear,
    Unreachable,
)
from billing.models import Break, GatewayCursor, LedgerTransaction, Package, Payment, PaymentAttempt, Refund
from core.ids import new_id
from inbox import deliveries
from inbox.models import Delivery
from tests import books
from tests.billing.buying import available, fresh, together
from tests.billing.given import topped_up
from tests.people import api
from tests.sandbox.process import RunningSandbox

pytestmark = pytest.mark.django_db


@dataclass(frozen=True)
class Shop:
    """One gateway as its customers, its own people and its webhooks know it."""

    name: str
    currency: str
    module: Any
    pay: Callable[[RunningSandbox, str], object]
    give_back: Callable[[RunningSandbox, str, int], object]  # in the gateway's dashboard
    header: str
    sign: Callable[[RunningSandbox, bytes], str]
    paid_event: str
    refunded_event: str
    subject_of: Callable[[dict[str, Any]], str]  # the start that a payment's event is about
    flow: str = "hosted"
    closes: bool = False  # whether what is closed can no longer be paid


def _hmac(sandbox: RunningSandbox, secret: str, body: bytes, algorithm: str) -> str:
    return hmac.new(sandbox.keys[secret].encode(), body, getattr(hashlib, algorithm)).hexdigest()


def _stripe_header(sandbox: RunningSandbox, body: bytes) -> str:
    at = int(time.time())
    return f"t={at},v1={_hmac(sandbox, 'STRIPE_WEBHOOK_SECRET', f'{at}.'.encode() + body, 'sha256')}"


SHOPS = {
    "razorpay": Shop(
        name="razorpay",
        currency="INR",
        module=razorpay,
        pay=lambda sandbox, ref: sandbox.checkout(ref),
        give_back=lambda sandbox, ref, amount: sandbox.gateway("payments", ref, "refund", amount=amount),
        header="x-razorpay-signature",
        sign=lambda sandbox, body: _hmac(sandbox, "RAZORPAY_WEBHOOK_SECRET", body, "sha256"),
        paid_event="payment.captured",
        refunded_event="refund.processed",
        subject_of=lambda event: str(event["payload"]["payment"]["entity"]["order_id"]),
    ),
    "stripe": Shop(
        name="stripe",
        currency="USD",
        module=stripe_wire,
        pay=lambda sandbox, ref: sandbox.stripe_checkout(ref),
        give_back=lambda sandbox, ref, amount: sandbox.stripe_dashboard("charges", ref, "refund", amount=amount),
        header="stripe-signature",
        sign=_stripe_header,
        paid_event="payment_intent.succeeded",
        refunded_event="charge.refunded",
        subject_of=lambda event: str(event["data"]["object"]["id"]),
        flow="client",
        closes=True,
    ),
    "monnify": Shop(
        name="monnify",
        currency="NGN",
        module=monnify,
        pay=lambda sandbox, ref: sandbox.monnify_checkout(ref),
        give_back=lambda sandbox, ref, amount: sandbox.monnify_dashboard("transactions", ref, "refund", amount=amount),
        header="monnify-signature",
        sign=lambda sandbox, body: _hmac(sandbox, "MONNIFY_SECRET_KEY", body, "sha512"),
        paid_event="SUCCESSFUL_TRANSACTION",
        refunded_event="SUCCESSFUL_REFUND",
        subject_of=lambda event: str(event["eventData"]["transactionReference"]),
    ),
}


@pytest.fixture(params=sorted(SHOPS))
def shop(request: pytest.FixtureRequest, sandbox: RunningSandbox, settings: Settings) -> Shop:
    settings.MONNIFY_REFUNDS = True
    found = SHOPS[request.param]
    for amount, code in ((50_000, "BASIC"), (80_000, "OTHER")):
        values = {"name": code.title(), "credits": 100, "amount": amount}
        Package.objects.update_or_create(code=code, currency=found.currency, defaults=values)
    return found


@pytest.fixture
def gateway(shop: Shop) -> Gateway:
    return gateways.get(shop.name)


def opening(shop: Shop, reference: str = "", amount: int = 50_000) -> Opening:
    return Opening(
        reference=reference or f"{new_id()}-1",
        amount=amount,
        currency=shop.currency,
        title="Basic, 100 credits",
        flow=shop.flow,
        return_url="https://shop.example/done",
        email="alice@example.com",
        name="Alice",
        notes={"payment": "p"},
    )


def paid(shop: Shop, gateway: Gateway, sandbox: RunningSandbox, amount: int = 50_000) -> AttemptFact:
    start = gateway.start(opening(shop, amount=amount))
    shop.pay(sandbox, start.ref)
    return captured(gateway, start)


def captured(gateway: Gateway, start: StartFact) -> AttemptFact:
    [fact] = [fact for fact in gateway.fetch(start.ref).attempts if fact.status is AttemptStatus.CAPTURED]
    return fact


def begin(user: User, shop: Shop, code: str = "BASIC") -> tuple[Payment, str]:
    payment = payments.start(user=user, item=f"package:{code}", gateway=shop.name).payment
    return payment, str(payment.starts.get().ref)


def bought(user: User, shop: Shop, sandbox: RunningSandbox) -> Payment:
    payment, ref = begin(user, shop)
    shop.pay(sandbox, ref)
    return payments.refresh(payment)


def everything(pages: Callable[..., Page[Any]], since: int) -> list[Any]:
    found, skip = [], 0
    while True:
        page = pages(since, skip=skip)
        found += page.items
        if page.next_skip is None:
            return found
        skip = page.next_skip


# --- Opened and found -------------------------------------------------------------------------------------------------


def test_a_start_is_what_was_asked_for(shop: Shop, gateway: Gateway) -> None:
    asked = opening(shop)

    start = gateway.start(asked)

    seen = gateway.fetch(start.ref)
    assert (seen.start.ref, seen.start.reference, seen.start.amount, seen.start.currency) == (
        start.ref,
        asked.reference,
        50_000,
        shop.currency,
    )
    assert [fact for fact in seen.attempts if fact.status is AttemptStatus.CAPTURED] == []
    assert gateway.is_payable(start, shop.flow)
    assert gateway.client(start)


def test_a_reference_is_never_opened_twice(shop: Shop, gateway: Gateway) -> None:
    asked = opening(shop)
    first = gateway.start(asked)

    try:
        assert gateway.start(asked).ref == first.ref
    except Repeated:
        found = gateway.find_start(asked.reference)
        assert found is not None
        assert found.ref == first.ref


def test_a_start_is_found_by_our_reference(shop: Shop, gateway: Gateway) -> None:
    asked = opening(shop)
    start = gateway.start(asked)

    found = gateway.find_start(asked.reference)

    assert found is not None
    assert (found.ref, found.reference, found.amount, found.currency) == (
        start.ref,
        asked.reference,
        50_000,
        shop.currency,
    )
    assert gateway.find_start(f"{new_id()}-1") is None


@pytest.mark.parametrize("amount", [10_000, 12_345, 9_999_900, 99_999_999])
def test_amounts_survive_the_wire_to_the_last_minor_unit(
    shop: Shop, gateway: Gateway, sandbox: RunningSandbox, amount: int
) -> None:
    start = gateway.start(opening(shop, amount=amount))
    assert gateway.fetch(start.ref).start.amount == amount
    if amount % 100 not in (1, 2, 5, 6):  # magic
        shop.pay(sandbox, start.ref)
        assert captured(gateway, start).amount == amount


def test_closing_is_quiet(shop: Shop, gateway: Gateway) -> None:
    start = gateway.start(opening(shop))

    gateway.close(start.ref)
    gateway.close(start.ref)


@pytest.mark.parametrize("ref", ["", "..", "../x", "a/b", "x" * 200, "a b", "ü", "nobody_1"])
def test_what_it_does_not_know_is_rejected(shop: Shop, gateway: Gateway, ref: str) -> None:
    for ask in (gateway.fetch_start, gateway.fetch, gateway.fetch_attempt, gateway.fetch_refund, gateway.fetch_dispute):
        with pytest.raises(Rejected):
            ask(ref)


# --- Refunded ---------------------------------------------------------------------------------------------------------


def test_a_refund_is_made_once_per_id(shop: Shop, gateway: Gateway, sandbox: RunningSandbox) -> None:
    attempt = paid(shop, gateway, sandbox)
    refund_id = new_id()

    def ask() -> RefundFact:
        return gateway.refund(attempt.ref, amount=20_000, currency=shop.currency, refund_id=refund_id, reason="asked")

    first, again = ask(), ask()

    assert (first.ref, first.amount, first.currency, first.refund_id) == (again.ref, 20_000, shop.currency, refund_id)
    assert first.attempt_ref == attempt.ref
    found = gateway.find_refund(attempt.ref, refund_id)
    assert found is not None
    assert (found.ref, found.status) == (first.ref, RefundStatus.PROCESSED)
    assert gateway.fetch_refund(first.ref).status is RefundStatus.PROCESSED
    assert gateway.find_refund(attempt.ref, new_id()) is None
    assert len({fact.ref for fact in everything(gateway.refunds_since, 0)}) == 1


def test_more_than_came_is_rejected(shop: Shop, gateway: Gateway, sandbox: RunningSandbox) -> None:
    attempt = paid(shop, gateway, sandbox)
    gateway.refund(attempt.ref, amount=40_000, currency=shop.currency, refund_id=new_id(), reason="asked")

    for amount in (10_100, 50_000):
        with pytest.raises(Rejected):
            gateway.refund(attempt.ref, amount=amount, currency=shop.currency, refund_id=new_id(), reason="asked")


def test_what_was_not_paid_is_not_refunded(shop: Shop, gateway: Gateway) -> None:
    start = gateway.start(opening(shop))

    with pytest.raises(Rejected):
        gateway.refund(start.ref, amount=20_000, currency=shop.currency, refund_id=new_id(), reason="asked")


# --- Listed -----------------------------------------------------------------------------------------------------------


def test_lists_are_read_to_their_end(
    shop: Shop, gateway: Gateway, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = [paid(shop, gateway, sandbox) for _ in range(5)]
    given = [
        gateway.refund(attempt.ref, amount=10_000, currency=shop.currency, refund_id=new_id(), reason="asked")
        for attempt in attempts[:4]
    ]
    monkeypatch.setattr(shop.module, "PAGE", 2)

    assert sorted({fact.ref for fact in everything(gateway.payments_since, 0)}) == sorted(
        attempt.ref for attempt in attempts
    )
    assert sorted({fact.ref for fact in everything(gateway.refunds_since, 0)}) == sorted(fact.ref for fact in given)
    assert everything(gateway.payments_since, 4_000_000_000) == []
    assert everything(gateway.disputes_since, 0) == []


# --- Failing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("hang", Unclear),
        ("500", Unclear),
        ("502", Unclear),
        ("truncated", Unclear),
        ("wrongtype", Unclear),
        ("429", Unreachable),
        ("400", Rejected),
    ],
)
def test_a_failure_says_whether_it_can_have_acted(
    shop: Shop,
    gateway: Gateway,
    sandbox: RunningSandbox,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    expected: type[Exception],
) -> None:
    start = gateway.start(opening(shop))
    monkeypatch.setattr(shop.module, "TIMEOUT_S", 0.5)
    sandbox.fault(shop.name, mode, path="/")

    with pytest.raises(expected) as failed:
        gateway.fetch(start.ref)

    if mode == "429":
        assert isinstance(failed.value, Unreachable)
        assert failed.value.retry_after == 2
    sandbox.clear_faults()
    assert gateway.fetch(start.ref).start.ref == start.ref


def test_a_gateway_that_is_not_there_was_not_reached(shop: Shop, gateway: Gateway, settings: Settings) -> None:
    setattr(settings, f"{shop.name.upper()}_BASE_URL", "http://127.0.0.1:9")

    with pytest.raises(Unreachable):
        gateway.start(opening(shop))


def test_refused_keys_are_nobodys_payment(shop: Shop, gateway: Gateway, sandbox: RunningSandbox) -> None:
    start = gateway.start(opening(shop))
    sandbox.fault(shop.name, "401", count=3, path="/")

    with pytest.raises(Misconfigured):
        gateway.fetch(start.ref)


def test_without_keys_it_is_absent_and_503(shop: Shop, alice: User, settings: Settings) -> None:
    for name in ("RAZORPAY_KEY_SECRET", "STRIPE_SECRET_KEY", "MONNIFY_SECRET_KEY"):
        setattr(settings, name, "")

    with pytest.raises(GatewayUnavailable):
        payments.start(user=alice, item="package:BASIC", gateway=shop.name)
    body = {"item": "package:BASIC", "gateway": shop.name}
    refused = api(alice, **{"Idempotency-Key": "k"}).post("/api/v1/payments", body)
    assert (refused.status_code, refused.json()["error"], refused.json()["charged"]) == (
        503,
        "gateway_unavailable",
        "none",
    )
    assert shop.name not in [row["name"] for row in api().get("/api/v1/payments/pricing").json()["gateways"]]
    assert not Payment.objects.exists()


def test_another_currency_is_not_sold(shop: Shop, alice: User) -> None:
    with pytest.raises(CurrencyNotSold):
        payments.start(user=alice, item="package:BASIC", gateway=shop.name, currency="JPY")


# --- Bought -----------------------------------------------------------------------------------------------------------


def test_bought_refunded_in_part_and_in_full(shop: Shop, alice: User, finance: User, sandbox: RunningSandbox) -> None:
    payment = bought(alice, shop, sandbox)
    payments.refresh(payment)

    assert (payment.state, payment.received, available(alice)) == ("succeeded", 50_000, 105)
    first = refunds.request(payment_id=payment.pk, amount=25_000, reason="asked", actor=finance)
    assert (first.state, fresh(payment).state, available(alice)) == ("processed", "partially_refunded", 55)
    refunds.request(payment_id=payment.pk, amount=25_000, reason="asked", actor=finance)
    assert (fresh(payment).state, available(alice)) == ("refunded", 5)
    with pytest.raises(RefundNotPossible):
        refunds.request(payment_id=payment.pk, amount=10_000, reason="asked", actor=finance)
    books.check()


def test_a_start_whose_answer_was_lost_is_resumed_and_never_paid_twice(
    shop: Shop, alice: User, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateways.get(shop.name).find_start(f"{new_id()}-1")  # a token, where there is one
    monkeypatch.setattr(shop.module, "TIMEOUT_S", 0.5)
    sandbox.fault(shop.name, "hang", when="after", path="/", method="POST")
    body = {"item": "package:BASIC", "gateway": shop.name, "flow": "hosted"}

    first = api(alice, **{"Idempotency-Key": "k"}).post("/api/v1/payments", body)
    again = api(alice, **{"Idempotency-Key": "k"}).post("/api/v1/payments", body)

    assert (first.status_code, first.json()["charged"]) == (502, "unknown")
    assert again.status_code == 201
    assert again.json()["checkout_url"]
    payment = Payment.objects.get()
    for begun in payment.starts.exclude(ref=None):
        shop.pay(sandbox, str(begun.ref))
    payments.refresh(payment)
    refunds.send_due()
    assert (fresh(payment).state, available(alice)) == ("succeeded", 105)
    assert LedgerTransaction.objects.filter(key__endswith=":grant", subject_id=payment.pk).count() == 1
    books.check()


def test_with_every_webhook_lost_the_poller_and_the_walk_bring_it_all(
    shop: Shop, alice: User, sandbox: RunningSandbox
) -> None:
    payment, ref = begin(alice, shop)
    shop.pay(sandbox, ref)
    Payment.objects.update(next_at="2020-01-01T00:00Z")

    reconcile.poll()

    assert (fresh(payment).state, available(alice)) == ("succeeded", 105)
    attempt = PaymentAttempt.objects.get()
    shop.give_back(sandbox, attempt.ref, 20_000)
    reconcile.walk()
    refund = Refund.objects.get()
    assert (refund.origin, refund.amount, refund.state) == ("gateway", 20_000, "processed")
    assert (fresh(payment).state, available(alice)) == ("partially_refunded", 65)
    late, late_ref = begin(alice, shop, "OTHER")
    payments.cancel(late)
    shop.pay(sandbox, late_ref)
    GatewayCursor.objects.update(next_at="2020-01-01T00:00Z")
    reconcile.walk()
    assert fresh(late).state == ("canceled" if shop.closes else "succeeded")
    assert not Break.objects.exists()
    books.check()


@pytest.mark.django_db(transaction=True)
def test_everybody_at_once_credits_once(shop: Shop, alice: User, sandbox: RunningSandbox) -> None:
    payment, ref = begin(alice, shop)
    shop.pay(sandbox, ref)
    [body, *_] = bodies(sandbox, shop, shop.paid_event)

    together(
        *[lambda: payments.verify(fresh(payment)) for _ in range(6)],
        *[lambda: deliver(sandbox, shop, body) for _ in range(4)],
        *[deliveries.handle_due for _ in range(4)],
        *[reconcile.poll for _ in range(2)],
    )
    deliveries.handle_due()

    assert (fresh(payment).state, available(alice)) == ("succeeded", 105)
    assert PaymentAttempt.objects.count() == 1
    books.check()


# --- Told of ----------------------------------------------------------------------------------------------------------


def bodies(sandbox: RunningSandbox, shop: Shop, event: str) -> list[bytes]:
    found = [row for row in sandbox.deliveries(provider=shop.name) if row["event"] == event]
    return [row["body"].encode() for row in sorted(found, key=lambda row: row["created_at"])]


def deliver(sandbox: RunningSandbox, shop: Shop, body: bytes, signature: str | None = None) -> int:
    headers = {shop.header: shop.sign(sandbox, body) if signature is None else signature}
    response = Client().post(
        f"/api/v1/webhooks/{shop.name}", data=body, content_type="application/json", headers=headers
    )
    return response.status_code


def test_a_webhook_makes_us_look(shop: Shop, alice: User, sandbox: RunningSandbox) -> None:
    payment, ref = begin(alice, shop)
    shop.pay(sandbox, ref)
    [body] = bodies(sandbox, shop, shop.paid_event)
    assert shop.subject_of(json.loads(body)) == ref

    assert deliver(sandbox, shop, body) == 200
    deliveries.handle_due()

    assert Delivery.objects.get().state == "processed"
    assert (fresh(payment).state, available(alice)) == ("succeeded", 105)
    books.check()


@pytest.mark.parametrize("forge", ["other body", "other secret", "unsigned", "accents", "truncated", "upper case"])
def test_a_forged_webhook_is_400_and_not_stored(shop: Shop, alice: User, sandbox: RunningSandbox, forge: str) -> None:
    payment, ref = begin(alice, shop)
    shop.pay(sandbox, ref)
    [body] = bodies(sandbox, shop, shop.paid_event)
    good = shop.sign(sandbox, body)

    status = {
        "other body": lambda: deliver(sandbox, shop, body.replace(b"50", b"51"), good),
        "other secret": lambda: deliver(sandbox, shop, body, hmac.new(b"x", body, hashlib.sha512).hexdigest()),
        "unsigned": lambda: deliver(sandbox, shop, body, ""),
        "accents": lambda: deliver(sandbox, shop, body, "é" * 64),
        "truncated": lambda: deliver(sandbox, shop, body[: len(body) // 2], good),
        "upper case": lambda: deliver(sandbox, shop, body, good.upper()),
    }[forge]()

    assert status == 400
    assert not Delivery.objects.exists()
    assert fresh(payment).state == "pending"
    assert available(alice) == 5


@pytest.mark.parametrize("body", [b"[]", b"null", b"{", b"\xff\xfe", b'"text"'])
def test_a_signed_body_that_is_no_object_is_400(shop: Shop, sandbox: RunningSandbox, body: bytes) -> None:
    assert deliver(sandbox, shop, body) == 400
    assert not Delivery.objects.exists()


def test_ten_megabytes_are_413(shop: Shop, sandbox: RunningSandbox) -> None:
    assert deliver(sandbox, shop, b'{"a":"' + b"x" * 10_000_000 + b'"}') == 413
    assert not Delivery.objects.exists()


def test_a_doubled_webhook_is_stored_once(shop: Shop, alice: User, sandbox: RunningSandbox) -> None:
    _, ref = begin(alice, shop)
    shop.pay(sandbox, ref)
    [body] = bodies(sandbox, shop, shop.paid_event)

    for _ in range(3):
        assert deliver(sandbox, shop, body) == 200
    deliveries.handle_due()
    assert deliver(sandbox, shop, body) == 200
    deliveries.handle_due()

    assert (Delivery.objects.get().times_received, available(alice)) == (4, 105)
    books.check()


def test_reordered_webhooks_come_to_the_same_end(shop: Shop, alice: User, sandbox: RunningSandbox) -> None:
    payment, ref = begin(alice, shop)
    shop.pay(sandbox, ref)
    attempt = captured(gateways.get(shop.name), gateways.get(shop.name).fetch(ref).start)
    shop.give_back(sandbox, attempt.ref, 50_000)
    [refunded] = bodies(sandbox, shop, shop.refunded_event)
    [paid_body] = bodies(sandbox, shop, shop.paid_event)

    for body in (refunded, paid_body):
        assert deliver(sandbox, shop, body) == 200
        deliveries.handle_due()

    assert (fresh(payment).state, available(alice)) == ("refunded", 5)
    assert Refund.objects.count() == 1
    books.check()


@pytest.mark.parametrize("kind", ["unknown event", "no event", "odd shapes"])
def test_an_unknown_event_is_ignored(shop: Shop, sandbox: RunningSandbox, kind: str) -> None:
    event: dict[str, Any] = {"unknown event": {"event": "x.y", "eventType": "X"}, "no event": {}}.get(
        kind, {"event": ["a"], "eventType": {"a": 1}, "payload": [], "eventData": 7}
    )

    assert deliver(sandbox, shop, json.dumps(event).encode()) == 200
    deliveries.handle_due()

    assert Delivery.objects.get().state == "ignored"


def test_a_webhook_about_somebody_elses_payment_finds_nothing(
    shop: Shop, gateway: Gateway, sandbox: RunningSandbox
) -> None:
    paid(shop, gateway, sandbox)
    [body] = bodies(sandbox, shop, shop.paid_event)

    assert deliver(sandbox, shop, body) == 200
    deliveries.handle_due()

    assert Delivery.objects.get().state in ("received", "failed")  # looked for again, for ten minutes
    assert not Payment.objects.exists()


# --- The wallet, which asks nobody ------------------------------------------------------------------------------------


def test_the_wallet_answers_like_any_gateway(alice: User, finance: User) -> None:
    wallet = gateways.get("wallet")
    topped_up(alice, 50_000)
    payment = payments.start(user=alice, item="wallet:calls:50000", gateway="wallet").payment

    refund = refunds.request(payment_id=payment.pk, amount=20_000, reason="asked", actor=finance)

    assert (payment.state, refund.state, fresh(payment).state) == ("succeeded", "processed", "partially_refunded")
    assert everything(wallet.payments_since, 0) == everything(wallet.refunds_since, 0) == []
    assert wallet.find_start("x-1") is wallet.find_refund("x", UUID(int=1)) is None
    for ask in (wallet.fetch_start, wallet.fetch, wallet.fetch_attempt, wallet.fetch_refund, wallet.fetch_dispute):
        with pytest.raises(Rejected):
            ask("x")
    books.check()

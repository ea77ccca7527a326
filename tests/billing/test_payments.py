"""Starting, paying, verifying, cancelling: the one door, whoever knocks."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.models import User
from audit.models import AuditLog
from billing import gateways, ledger, payments, reconcile, refunds
from billing.errors import PaymentSettled, SignatureInvalid
from billing.gateways.base import (
    AttemptFact,
    AttemptStatus,
    Opening,
    Rejected,
    Repeated,
    Snapshot,
    StartFact,
    Unclear,
)
from billing.gateways.razorpay import Razorpay
from billing.models import Break, CreditLot, LedgerTransaction, Package, Payment, PaymentAttempt, PaymentStart, Refund
from core import http
from core.idempotency import Claim, claim_with_lease
from core.metrics import scrape
from notifications.models import Mail
from tests import books
from tests.billing.buying import available, bought, fresh, order_of, pay, priced, start, together
from tests.people import api
from tests.sandbox.process import RunningSandbox, wait_for

pytestmark = pytest.mark.django_db


def post(user: User | None, path: str, body: Any = None, *, key: str = "") -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    return api(user, **headers).post(f"/api/v1/{path}", body if body is not None else {})


def mails(user: User) -> list[tuple[str, str]]:
    names = ("payment-confirmation", "payment-failed")
    return list(Mail.objects.filter(user=user, name__in=names).order_by("pk").values_list("name", "cause"))


# --- The happy way --------------------------------------------------------------------------------------------------


def test_a_package_is_bought_verified_and_credited_once(alice: User, sandbox: RunningSandbox) -> None:
    told = post(alice, "payments", {"item": "package:BASIC", "gateway": "razorpay"}, key="a")

    assert told.status_code == 201
    body = told.json()
    payment = Payment.objects.get(pk=body["id"])
    assert told["Location"] == f"/api/v1/payments/{payment.pk}"
    assert (body["status"], body["amount"], body["currency"], body["item"]) == (
        "pending",
        49900,
        "INR",
        "package:BASIC",
    )
    assert body["client"] == {
        "order_id": order_of(payment),
        "key_id": sandbox.keys["RAZORPAY_KEY_ID"],
        "amount": 49900,
        "currency": "INR",
    }
    assert body["checkout_url"] is None
    assert body["expires_at"]
    begun = payment.starts.get()
    assert begun.reference == f"{payment.pk}-1"
    assert len(begun.reference) <= 40

    handed = pay(sandbox, payment)
    verified = post(alice, f"payments/{payment.pk}/verify", handed)

    assert verified.status_code == 200
    assert (verified.json()["status"], verified.json()["received"]) == ("succeeded", 49900)
    assert verified.json()["client"] is None
    assert available(alice) == 105
    assert mails(alice) == [("payment-confirmation", f"payment:{payment.pk}:confirmation")]
    again = post(alice, f"payments/{payment.pk}/verify", handed)
    assert (again.status_code, again.json()["status"]) == (200, "succeeded")
    assert available(alice) == 105
    lot = CreditLot.objects.get(source_id=payment.pk)
    assert (lot.category, lot.amount, lot.source_type) == ("paid", 100, "payment")
    assert set(AuditLog.objects.filter(entity_id=str(payment.pk)).values_list("action", flat=True)) >= {
        "payment.created",
        "payment.started",
        "payment.attempted",
        "payment.succeeded",
    }
    books.check()


def test_verify_without_a_body_looks_too(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)

    waiting = post(alice, f"payments/{payment.pk}/verify")
    assert (waiting.status_code, waiting.json()["status"]) == (200, "pending")
    pay(sandbox, payment)
    paid = post(alice, f"payments/{payment.pk}/verify")

    assert (paid.status_code, paid.json()["status"]) == (200, "succeeded")
    assert available(alice) == 105
    books.check()


def test_the_checkout_signature_of_the_published_vector(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    PaymentStart.objects.filter(payment=payment).update(ref="order_Ex01")
    claim = {
        "razorpay_order_id": "order_Ex01",
        "razorpay_payment_id": "pay_Ex01",
        "razorpay_signature": "788126578560eea095c76bc0fc4c5f962a8eec998a1173f2d18a179f37f12833",
    }

    from billing import gateways

    assert gateways.get("razorpay").check_client(claim, refs=["order_Other", "order_Ex01"])
    assert not gateways.get("razorpay").check_client(claim, refs=["order_Other"])


@pytest.mark.parametrize("forge", ["signature", "payment", "order", "accents"])
def test_a_forged_signature_changes_nothing(alice: User, sandbox: RunningSandbox, forge: str) -> None:
    payment, other = start(alice), start(alice, "package:PREMIUM")
    handed = pay(sandbox, other)  # a true signature, of another order
    honest = pay(sandbox, payment, "authorize") or {}
    body = {
        "signature": handed | {"razorpay_order_id": order_of(payment)},
        "payment": {**handed, "razorpay_payment_id": "pay_other"},
        "order": handed,
        "accents": {**honest, "razorpay_signature": "é" * 64},
    }[forge]

    response = post(alice, f"payments/{payment.pk}/verify", body)

    assert (response.status_code, response.json()["error"]) == (400, "signature_invalid")
    assert response.json()["charged"] == "none"
    assert fresh(payment).state == "pending"
    assert not PaymentAttempt.objects.filter(payment=payment).exists()
    assert available(alice) == 5
    assert AuditLog.objects.filter(action="payment.verification_failed", entity_id=str(payment.pk)).count() == 1
    books.check()


def test_a_part_of_the_checkouts_answer_is_refused(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    handed = pay(sandbox, payment)
    del handed["razorpay_signature"]

    assert post(alice, f"payments/{payment.pk}/verify", handed).status_code == 400
    assert fresh(payment).state == "pending"


# --- Who may --------------------------------------------------------------------------------------------------------


def test_strangers_see_nothing(alice: User, bob: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)

    assert api(bob).get(f"/api/v1/payments/{payment.pk}").status_code == 404
    assert post(bob, f"payments/{payment.pk}/verify").status_code == 404
    assert post(bob, f"payments/{payment.pk}/cancel").status_code == 404
    assert api(bob).get("/api/v1/payments").json()["count"] == 0
    assert fresh(payment).state == "pending"


def test_buying_needs_a_verified_mailbox(unverified: User, sandbox: RunningSandbox) -> None:
    body = {"item": "package:BASIC", "gateway": "razorpay"}

    assert post(None, "payments", body, key="a").status_code == 401
    refused = post(unverified, "payments", body, key="a")
    assert (refused.status_code, refused.json()["error"]) == (403, "email_not_verified")
    assert not Payment.objects.exists()


def test_an_idempotency_key_is_required(alice: User, sandbox: RunningSandbox) -> None:
    for path in ("payments", "credits/purchase"):
        response = post(alice, path, {"item": "package:BASIC", "gateway": "razorpay"})
        assert (response.status_code, response.json()["error"]) == (400, "idempotency_key_required")


def test_without_keys_the_gateway_is_not_available(alice: User, sandbox: RunningSandbox, settings: Settings) -> None:
    settings.RAZORPAY_KEY_ID = ""

    response = post(alice, "payments", {"item": "package:BASIC", "gateway": "razorpay"}, key="a")

    assert (response.status_code, response.json()["error"]) == (503, "gateway_unavailable")
    assert response["Retry-After"]
    assert not Payment.objects.exists()


def test_the_list_is_newest_first_filtered_and_cheap(
    alice: User, sandbox: RunningSandbox, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    made = [start(alice, f"credits:{n}") for n in range(10, 15)]
    payments.cancel(made[0])
    client = api(alice)
    client.get("/api/v1/payments")

    with django_assert_num_queries(4):  # who, count, page, starts
        body = client.get("/api/v1/payments?limit=3").json()

    assert body["count"] == 5
    assert [row["item"] for row in body["results"]] == ["credits:14", "credits:13", "credits:12"]
    with django_assert_num_queries(4):
        client.get("/api/v1/payments?limit=100")
    assert client.get("/api/v1/payments?status=canceled").json()["count"] == 1
    assert client.get("/api/v1/payments?item=credits:12").json()["count"] == 1
    assert client.get("/api/v1/payments?status=nonsense").status_code == 400
    assert client.get("/api/v1/payments?colour=red").status_code == 400
    assert client.get("/api/v1/payments?limit=101").status_code == 400


# --- One open payment per item; one key, one payment ----------------------------------------------------------------


def test_the_same_key_answers_the_same_payment(alice: User, sandbox: RunningSandbox) -> None:
    body = {"item": "package:BASIC", "gateway": "razorpay"}
    first = post(alice, "payments", body, key="a")
    again = post(alice, "payments", body, key="a")

    assert (first.status_code, again.status_code) == (201, 201)
    assert again["Idempotent-Replayed"] == "true"
    assert first.json() == again.json()
    other = post(alice, "payments", {**body, "item": "package:PREMIUM"}, key="a")
    assert (other.status_code, other.json()["error"]) == (409, "idempotency_mismatch")
    assert Payment.objects.count() == 1


def test_an_open_payment_for_the_item_is_answered_again(alice: User, bob: User, sandbox: RunningSandbox) -> None:
    body = {"item": "package:BASIC", "gateway": "razorpay"}
    first = post(alice, "payments", body, key="a")
    second = post(alice, "payments", {**body, "item": "package:basic", "flow": "hosted"}, key="b")

    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["id"] == second.json()["id"]
    assert second.json()["checkout_url"] == f"{sandbox.razorpay_url}/checkout/{first.json()['client']['order_id']}"
    assert post(bob, "payments", body, key="a").status_code == 201
    assert Payment.objects.count() == 2


def test_another_price_closes_the_older_payment_first(alice: User, sandbox: RunningSandbox) -> None:
    older = start(alice)
    Package.objects.filter(code="BASIC", currency="INR").update(amount=59_900)

    newer = start(alice)

    assert newer.pk != older.pk
    assert (fresh(older).state, fresh(older).superseded_by_id) == ("canceled", newer.pk)
    assert (newer.state, newer.amount) == ("pending", 59_900)


def test_both_paid_anyway_both_settle_and_a_break_is_filed(alice: User, sandbox: RunningSandbox) -> None:
    older = start(alice)
    Package.objects.filter(code="BASIC", currency="INR").update(amount=59_900)
    newer = start(alice)

    pay(sandbox, newer)
    payments.refresh(newer)
    pay(sandbox, older)
    payments.refresh(older)

    assert {fresh(older).state, fresh(newer).state} == {"succeeded"}
    assert available(alice) == 205
    filed = Break.objects.get()
    assert (filed.kind, filed.payment_id) == ("paid_twice", older.pk)
    books.check()


def test_an_older_payment_that_was_paid_meanwhile_is_settled_not_closed(alice: User, sandbox: RunningSandbox) -> None:
    older = start(alice)
    pay(sandbox, older)
    Package.objects.filter(code="BASIC", currency="INR").update(amount=59_900)

    newer = start(alice)

    assert (fresh(older).state, newer.state) == ("succeeded", "pending")
    assert available(alice) == 105


def test_the_database_refuses_a_second_open_payment(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    payment.pk = payment.id = uuid.uuid4()

    with pytest.raises(IntegrityError), transaction.atomic():
        payment.save(force_insert=True)


@pytest.mark.django_db(transaction=True)
def test_ten_starts_at_once_make_one_payment_and_one_order(alice: User, sandbox: RunningSandbox) -> None:
    results = together(*[lambda: start(alice) for _ in range(10)])

    assert {payment.pk for payment in results} == {Payment.objects.get().pk}
    assert PaymentStart.objects.count() == 1
    listed = sandbox.ask("GET", "/razorpay/v1/orders", auth=tuple(list(sandbox.keys.values())[:2]))
    assert listed["count"] == 1


# --- A gateway in trouble -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "status", "charged"),
    [
        ("refuse", 502, "unknown"),  # taken, then cut off: it may have been read
        ("500", 502, "unknown"),
        ("hang", 502, "unknown"),
        ("wrongtype", 502, "unknown"),
        ("truncated", 502, "unknown"),
        ("huge", 502, "unknown"),
        ("429", 503, "none"),
    ],
)
def test_a_gateway_in_trouble_says_truthfully_what_was_charged(
    alice: User, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch, mode: str, status: int, charged: str
) -> None:
    monkeypatch.setattr("billing.gateways.razorpay.TIMEOUT_S", 1)
    sandbox.fault("razorpay", mode)
    body = {"item": "package:BASIC", "gateway": "razorpay"}

    failed = post(alice, "payments", body, key="a")

    assert (failed.status_code, failed.json()["charged"]) == (status, charged)
    assert Payment.objects.get().state == "created"
    sandbox.clear_faults()
    resumed = post(alice, "payments", body, key="a")
    assert (resumed.status_code, resumed.json()["status"]) == (201, "pending")
    assert Payment.objects.count() == PaymentStart.objects.count() == 1
    pay(sandbox, Payment.objects.get())
    assert post(alice, f"payments/{resumed.json()['id']}/verify").json()["status"] == "succeeded"
    assert available(alice) == 105
    books.check()


def test_nothing_listening_is_nothing_charged(alice: User, sandbox: RunningSandbox, settings: Settings) -> None:
    settings.RAZORPAY_BASE_URL = "http://127.0.0.1:9/razorpay"

    failed = post(alice, "payments", {"item": "package:BASIC", "gateway": "razorpay"}, key="a")

    assert (failed.status_code, failed.json()["error"]) == (503, "gateway_unavailable")
    assert failed.json()["charged"] == "none"


def test_another_key_also_resumes_a_payment_whose_order_was_never_answered(
    alice: User, sandbox: RunningSandbox
) -> None:
    sandbox.fault("razorpay", "500")
    body = {"item": "package:BASIC", "gateway": "razorpay"}
    assert post(alice, "payments", body, key="a").status_code == 502

    second = post(alice, "payments", body, key="b")

    assert (second.status_code, second.json()["status"]) == (200, "pending")
    assert Payment.objects.count() == 1


def test_wrong_keys_are_our_fault_not_the_customers(alice: User, sandbox: RunningSandbox, settings: Settings) -> None:
    settings.RAZORPAY_KEY_SECRET = "wrong"

    failed = post(alice, "payments", {"item": "package:BASIC", "gateway": "razorpay"}, key="a")

    assert (failed.status_code, failed.json()["error"], failed.json()["charged"]) == (
        503,
        "gateway_unavailable",
        "none",
    )
    assert Payment.objects.get().state == "created"


def test_a_refused_order_fails_the_payment_for_good(alice: User, sandbox: RunningSandbox) -> None:
    failed = post(alice, "payments", {"item": priced(50), "gateway": "razorpay"}, key="a")  # below one rupee

    assert (failed.status_code, failed.json()["charged"]) == (502, "none")
    payment = Payment.objects.get()
    assert (payment.state, payment.failure_message) == ("failed", "The amount must be at least INR 1.00")
    shown = api(alice).get(f"/api/v1/payments/{payment.pk}").json()
    assert shown["error"]["message"] == "The amount must be at least INR 1.00"


@pytest.mark.parametrize("mode", ["refuse", "500", "wrongtype"])
def test_verify_of_a_paid_payment_while_the_gateway_is_away_says_unknown(
    alice: User, sandbox: RunningSandbox, mode: str
) -> None:
    payment = start(alice)
    handed = pay(sandbox, payment)
    sandbox.fault("razorpay", mode)

    failed = post(alice, f"payments/{payment.pk}/verify", handed)

    assert failed.status_code in (502, 503)
    assert failed.json()["charged"] == "unknown"
    assert fresh(payment).state == "pending"
    sandbox.clear_faults()
    assert post(alice, f"payments/{payment.pk}/verify", handed).json()["status"] == "succeeded"


def test_a_crash_between_the_gateway_and_our_note_is_resumed(
    alice: User, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = {"user_id": alice.pk, "method": "POST", "route": "/x", "key": "k", "digest": b"0" * 32}
    claim = claim_with_lease(**named)
    monkeypatch.setattr("billing.openings.tie", _crash)
    with pytest.raises(KeyboardInterrupt):
        payments.start(user=alice, item="package:BASIC", gateway="razorpay", claim=claim)
    monkeypatch.undo()
    [order] = sandbox.ask("GET", "/razorpay/v1/orders", auth=tuple(list(sandbox.keys.values())[:2]))["items"]

    resumed = payments.start(
        user=alice, item="package:BASIC", gateway="razorpay", claim=Claim(claim.id, Payment.objects.get().pk)
    )

    assert order_of(resumed.payment) == order["id"]
    assert Payment.objects.count() == 1


def _crash(*args: Any) -> None:
    raise KeyboardInterrupt


# --- What can come of it --------------------------------------------------------------------------------------------


def test_a_failed_attempt_is_a_row_and_one_mail_and_the_payment_stays_open(
    alice: User, sandbox: RunningSandbox
) -> None:
    payment = start(alice)
    pay(sandbox, payment, "fail")

    payments.refresh(payment)
    payments.refresh(payment)

    assert fresh(payment).state == "pending"
    attempt = PaymentAttempt.objects.get()
    assert attempt.state == "failed"
    assert attempt.error_code
    assert mails(alice) == [("payment-failed", f"attempt:{attempt.pk}:failed")]
    pay(sandbox, payment)
    payments.refresh(payment)
    assert fresh(payment).state == "succeeded"
    assert [name for name, _ in mails(alice)] == ["payment-failed", "payment-confirmation"]
    books.check()


def test_a_failed_attempt_that_is_authorised_late_still_pays(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    pay(sandbox, payment, "late")
    payments.refresh(payment)
    assert fresh(payment).state == "pending"

    sandbox.advance(30)
    wait_for(lambda: payments.refresh(payment).is_paid, "the late authorisation")

    assert PaymentAttempt.objects.get().state == "captured"
    assert available(alice) == 105
    books.check()


def test_authorised_money_is_captured(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    pay(sandbox, payment, "authorize")

    payments.refresh(payment)

    assert fresh(payment).state == "succeeded"
    assert available(alice) == 105
    books.check()


def test_late_money_is_money(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    assert post(alice, f"payments/{payment.pk}/cancel").json()["status"] == "canceled"
    assert post(alice, f"payments/{payment.pk}/cancel").json()["status"] == "canceled"

    pay(sandbox, payment)
    assert post(alice, f"payments/{payment.pk}/verify").json()["status"] == "succeeded"

    assert available(alice) == 105
    refused = post(alice, f"payments/{payment.pk}/cancel")
    assert (refused.status_code, refused.json()["error"], refused.json()["charged"]) == (
        409,
        "payment_settled",
        "settled",
    )
    books.check()


def test_cancel_looks_first_and_finds_the_money(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    pay(sandbox, payment)

    with pytest.raises(PaymentSettled):
        payments.cancel(payment)

    assert fresh(payment).state == "succeeded"
    assert available(alice) == 105


def test_cancel_works_while_the_gateway_is_away(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    sandbox.fault("razorpay", "refuse")

    assert payments.cancel(payment).state == "canceled"


def test_refunded_before_settling_grants_and_takes_in_one_go(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    handed = pay(sandbox, payment)
    sandbox.gateway("payments", handed["razorpay_payment_id"], "refund")

    payments.refresh(payment)

    settled = fresh(payment)
    assert (settled.state, settled.received, settled.refunded, settled.granted, settled.taken) == (
        "refunded", 49900, 49900, 100, 100,
    )  # fmt: skip
    assert available(alice) == 5
    assert mails(alice) == []
    assert Refund.objects.get().origin == "gateway"
    books.check()


def test_two_captures_on_one_order_the_second_goes_back(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    first = pay(sandbox, payment)
    second = pay(sandbox, payment, again="1")

    payments.refresh(payment)
    refunds.send_due()
    payments.refresh(payment)

    settled = fresh(payment)
    assert (settled.state, settled.received, settled.refunded) == ("succeeded", 49900, 0)
    attempts = dict(PaymentAttempt.objects.values_list("ref", "counts"))
    assert attempts == {first["razorpay_payment_id"]: "price", second["razorpay_payment_id"]: "surplus"}
    refund = Refund.objects.get()
    assert (refund.state, refund.origin, refund.amount) == ("processed", "surplus", 49900)
    assert refund.attempt.ref == second["razorpay_payment_id"]
    at_gateway = sandbox.ask(
        "GET", f"/razorpay/v1/payments/{refund.attempt.ref}", auth=tuple(list(sandbox.keys.values())[:2])
    )
    assert at_gateway["status"] == "refunded"
    assert available(alice) == 105
    books.check()


def test_a_second_capture_long_after_goes_back_too(alice: User, sandbox: RunningSandbox) -> None:
    payment = bought(sandbox, alice)
    pay(sandbox, payment, again="1")

    payments.refresh(payment)
    refunds.send_due()

    assert Refund.objects.get().state == "processed"
    assert (fresh(payment).state, available(alice)) == ("succeeded", 105)
    books.check()


def test_overpaid_settles_and_the_excess_is_a_break(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice, priced(50_006))
    pay(sandbox, payment)

    payments.refresh(payment)

    assert (fresh(payment).state, fresh(payment).received, available(alice)) == ("succeeded", 50_106, 105)
    filed = Break.objects.get()
    assert (filed.kind, filed.amount) == ("overpaid", 100)
    books.check()


def test_underpaid_grants_nothing_and_is_a_break(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice, priced(50_005))
    pay(sandbox, payment)

    payments.refresh(payment)
    payments.refresh(payment)

    assert (fresh(payment).state, fresh(payment).received, available(alice)) == ("pending", 49_905, 5)
    filed = Break.objects.get()
    assert (filed.kind, filed.amount) == ("underpaid", 49_905)
    assert mails(alice) == []
    books.check()


def test_the_rest_of_an_underpaid_payment_settles_it(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice, priced(205))
    pay(sandbox, payment)
    payments.refresh(payment)
    pay(sandbox, payment)

    payments.refresh(payment)

    assert (fresh(payment).state, fresh(payment).received) == ("succeeded", 210)
    assert {b.kind: b.resolution for b in Break.objects.all()} == {"underpaid": "the rest has come", "overpaid": ""}
    books.check()


def test_an_order_that_is_not_ours_moves_nothing(alice: User, sandbox: RunningSandbox) -> None:
    cheap, dear = start(alice, "credits:10"), start(alice, "package:ENTERPRISE")
    pay(sandbox, cheap)
    ref = order_of(cheap)
    PaymentStart.objects.filter(payment=cheap).update(ref="order_other")
    PaymentStart.objects.filter(payment=dear).update(ref=ref)

    payments.refresh(dear)

    assert fresh(dear).state == "pending"
    assert available(alice) == 5
    assert Break.objects.get().kind == "mismatch"
    books.check()


def test_nothing_is_taken_on_an_order_that_is_not_as_we_asked(
    alice: User, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = start(alice)
    gateway = gateways.get("razorpay")
    order = StartFact(ref=order_of(payment), reference=payment.starts.get().reference, amount=49_800, currency="INR")
    held = AttemptFact("pay_other", order.ref, AttemptStatus.AUTHORIZED, 49_800, "INR", at=1)
    monkeypatch.setattr(gateway, "fetch", lambda ref, dispute_refs=(): Snapshot(order, [held]))
    taken: list[str] = []
    monkeypatch.setattr(gateway, "capture", lambda ref, **_: taken.append(ref))

    payments.refresh(payment)

    assert taken == []
    assert fresh(payment).state == "pending"
    assert Break.objects.get().kind == "mismatch"
    books.check()


def test_a_payment_that_cannot_be_delivered_is_refunded_in_full_with_a_mail(
    alice: User, sandbox: RunningSandbox
) -> None:
    payment = start(alice)
    pay(sandbox, payment)
    User.objects.filter(pk=alice.pk).update(status="deleting")

    payments.refresh(payment)
    refunds.send_due()

    settled = fresh(payment)
    assert (settled.state, settled.fulfilment, settled.granted) == ("refunded", "refused", 0)
    assert Refund.objects.get().state == "processed"
    assert mails(alice) == [("payment-failed", f"payment:{payment.pk}:refused")]
    assert not LedgerTransaction.objects.filter(key=f"payment:{payment.pk}:grant").exists()
    books.check()


def test_debt_is_collected_from_a_purchase(alice: User, sandbox: RunningSandbox) -> None:
    payment = bought(sandbox, alice)
    spend(alice, 100)
    sandbox.gateway("payments", attempt_of(payment), "refund")
    payments.refresh(payment)
    assert ledger.balance(alice.pk).debt == 95
    assert available(alice) == 0

    bought(sandbox, alice, "credits:150")

    assert ledger.balance(alice.pk).debt == 0
    assert available(alice) == 55
    books.check()


def spend(user: User, amount: int) -> None:
    from tests.billing.given import spent

    spent(user, amount)


def attempt_of(payment: Payment) -> str:
    return payment.attempts.get(counts="price").ref


# --- At once --------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_verify_webhook_and_poller_at_once_credit_once(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    handed = pay(sandbox, payment)

    results = together(
        *[lambda: payments.verify(payment, handed).state for _ in range(4)],
        *[lambda: payments.refresh(payment).state for _ in range(4)],
    )

    assert results == ["succeeded"] * 8
    assert available(alice) == 105
    assert LedgerTransaction.objects.filter(subject_id=payment.pk).count() == 2
    assert len(mails(alice)) == 1
    books.check()


@pytest.mark.django_db(transaction=True)
def test_cancel_and_payment_at_once_end_paid(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    handed = pay(sandbox, payment)

    together(lambda: payments.cancel(payment), lambda: payments.verify(payment, handed))

    assert payments.refresh(payment).state == "succeeded"
    assert available(alice) == 105
    books.check()


def test_signature_errors_are_raised_for_the_pages_too(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)

    with pytest.raises(SignatureInvalid):
        payments.verify(payment, {"razorpay_order_id": "", "razorpay_payment_id": "", "razorpay_signature": ""})


def test_eleven_purchases_a_day_are_one_too_many(alice: User, sandbox: RunningSandbox, settings: Settings) -> None:
    settings.RATELIMIT_ENABLE = True
    client = api(alice)
    for n in range(10, 20):
        body = {"item": f"credits:{n}", "gateway": "razorpay"}
        assert client.post("/api/v1/payments", body, headers={"Idempotency-Key": str(n)}).status_code == 201

    body = {"credits": 20, "gateway": "razorpay"}
    refused = client.post("/api/v1/credits/purchase", body, headers={"Idempotency-Key": "20"})

    assert (refused.status_code, refused.json()["error"]) == (429, "rate_limited")
    assert refused["Retry-After"]
    assert Payment.objects.count() == 10
    assert client.get("/api/v1/payments").status_code == 200


@pytest.mark.django_db(transaction=True)
def test_the_gateway_is_never_called_inside_a_transaction(
    alice: User, finance: User, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def call(method: str, url: str, **more: Any) -> Any:
        assert not connection.in_atomic_block, f"{method} {url} inside a transaction"
        calls.append(url)
        return real(method, url, **more)

    real = http.call
    monkeypatch.setattr("core.http.call", call)
    body = {"item": "package:BASIC", "gateway": "razorpay"}
    first = Payment.objects.get(pk=post(alice, "payments", body, key="a").json()["id"])
    Package.objects.filter(code="BASIC", currency="INR").update(amount=59_900)
    payment = Payment.objects.get(pk=post(alice, "payments", body, key="b").json()["id"])
    pay(sandbox, payment, "authorize")
    post(alice, f"payments/{payment.pk}/verify")
    pay(sandbox, payment, again="1")
    payments.refresh(payment)
    refunds.send_due()
    refunds.request(payment_id=payment.pk, amount=100, reason="asked", actor=finance)
    Payment.objects.update(next_at=Now())
    reconcile.poll()
    reconcile.walk()
    post(alice, f"payments/{start(alice, 'credits:10').pk}/cancel")

    assert len(calls) > 20
    assert fresh(first).state == "canceled"
    books.check()


def test_the_metrics_count_payments_by_gateway_and_state(alice: User, sandbox: RunningSandbox) -> None:
    bought(sandbox, alice)
    start(alice, "credits:10")

    page = scrape().decode()

    assert 'payments_total{gateway="razorpay",state="succeeded"} 1.0' in page
    assert 'payments_total{gateway="razorpay",state="pending"} 2.0' in page  # the one that succeeded, too


# --- Closing at the gateway -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["canceled", "expired", "superseded"])
def test_what_is_closed_here_is_closed_at_the_gateway_first(
    alice: User, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    payment = start(alice)
    closed: list[tuple[str, str]] = []
    monkeypatch.setattr(Razorpay, "close", lambda self, ref: closed.append((ref, fresh(payment).state)))

    if end == "canceled":
        payments.cancel(payment)
    elif end == "expired":
        payments.expire(payment)
        assert closed == []  # its time is not over
        Payment.objects.update(expires_at=Now())
        payments.expire(payment)
    else:
        Package.objects.filter(code="BASIC").update(amount=50_000)
        start(alice)

    assert closed == [(order_of(payment), "pending")]
    assert fresh(payment).state == ("expired" if end == "expired" else "canceled")
    books.check()


def test_what_was_paid_while_it_was_being_closed_is_settled(
    alice: User, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = start(alice)

    def close(self: Razorpay, ref: str) -> None:
        pay(sandbox, payment)
        raise Rejected("it has been paid", status=400)

    monkeypatch.setattr(Razorpay, "close", close)

    with pytest.raises(PaymentSettled):
        payments.cancel(payment)

    assert fresh(payment).state == "succeeded"
    assert available(alice) == 105
    books.check()


def test_a_gateway_that_does_not_answer_keeps_nothing_open(
    alice: User, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = start(alice)

    def close(self: Razorpay, ref: str) -> None:
        raise Unclear("no answer")

    monkeypatch.setattr(Razorpay, "close", close)

    assert payments.cancel(payment).state == "canceled"


def test_a_page_that_was_told_once_and_lost_is_opened_again_under_the_next_reference(
    alice: User, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Razorpay.start
    asked: list[str] = []

    def start_once(self: Razorpay, opening: Opening) -> StartFact:
        asked.append(opening.reference)
        if len(asked) == 1:
            real(self, opening)
            raise Unclear("no answer")
        if asked.count(opening.reference) > 1:
            raise Repeated("you had that", status=400)
        return replace(real(self, opening), url="https://gateway.example/pay/1")

    monkeypatch.setattr(Razorpay, "start", start_once)
    monkeypatch.setattr(Razorpay, "is_payable", lambda self, begun, flow: bool(begun.url))

    assert post(alice, "payments", {"item": "package:BASIC", "gateway": "razorpay"}, key="a").status_code == 502
    again = post(alice, "payments", {"item": "package:BASIC", "gateway": "razorpay"}, key="a")

    assert again.status_code == 201
    payment = Payment.objects.get()
    assert asked == [f"{payment.pk}-1", f"{payment.pk}-1", f"{payment.pk}-2"]
    first, second = payment.starts.order_by("n")
    assert first.ref
    assert first.ref != second.ref
    assert (first.url, second.url) == ("", "https://gateway.example/pay/1")
    sandbox.checkout(first.ref)  # whichever is paid counts
    assert payments.refresh(payment).state == "succeeded"
    books.check()

"""With every webhook lost: the poller of young payments and the hourly walk through the gateway's lists."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.db.models.functions import Now
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.models import User
from billing import disputes, payments, reconcile, refunds, tasks
from billing.models import Break, Dispute, GatewayCursor, Payment, PaymentAttempt, PaymentStart, Refund
from tests import books
from tests.billing.buying import available, bought, fresh, order_of, pay, start, together
from tests.sandbox.process import RunningSandbox

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _razorpay_alone(sandbox: RunningSandbox, settings: Settings) -> None:
    settings.STRIPE_SECRET_KEY = settings.MONNIFY_SECRET_KEY = ""


def due(*payments: Payment) -> None:
    Payment.objects.filter(pk__in=[payment.pk for payment in payments]).update(next_at=Now())


def aged(payment: Payment, **age: float) -> None:
    """As if it had been started that much earlier."""
    span = timedelta(**age)
    Payment.objects.filter(pk=payment.pk).update(
        created_at=F("created_at") - span, expires_at=F("expires_at") - span, next_at=Now()
    )


def next_in_s(payment: Payment) -> float | None:
    row = Payment.objects.annotate(wait=F("next_at") - Now()).get(pk=payment.pk)
    return None if row.wait is None else row.wait.total_seconds()  # type: ignore[attr-defined]


# --- The poller -----------------------------------------------------------------------------------------------------


def test_both_verify_and_webhook_lost_the_poller_finds_the_money(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    pay(sandbox, payment)

    assert reconcile.poll() == 0  # not due yet
    due(payment)
    assert reconcile.poll() == 1

    assert fresh(payment).state == "succeeded"
    assert fresh(payment).next_at is None
    assert available(alice) == 105
    assert reconcile.poll() == 0
    books.check()


def test_looks_come_after_30_s_1_2_4_8_min_then_every_ten_until_the_end(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    waits = [next_in_s(payment)]

    for _ in range(7):
        due(payment)
        reconcile.poll()
        waits.append(next_in_s(payment))

    assert waits == pytest.approx([30, 60, 120, 240, 480, 600, 600, 600], abs=10)
    Payment.objects.update(expires_at=Now() + timedelta(seconds=90), next_at=Now())
    reconcile.poll()
    assert next_in_s(payment) == pytest.approx(90, abs=10)
    assert fresh(payment).state == "pending"


def test_an_unpaid_payment_expires_after_an_hour_and_is_still_looked_at_for_a_day(
    alice: User, sandbox: RunningSandbox
) -> None:
    payment = start(alice)
    aged(payment, minutes=61)

    reconcile.poll()
    assert fresh(payment).state == "expired"
    assert next_in_s(payment) is not None

    pay(sandbox, payment)
    due(payment)
    reconcile.poll()
    assert fresh(payment).state == "succeeded"
    assert available(alice) == 105
    books.check()


def test_looking_ends_after_a_day(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    payments.cancel(payment)
    aged(payment, hours=25)

    reconcile.poll()

    assert fresh(payment).next_at is None


def test_nothing_expires_unseen(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    pay(sandbox, payment)
    aged(payment, hours=30)
    sandbox.fault("razorpay", "500", count=None)

    reconcile.poll()
    assert fresh(payment).state == "pending"
    assert next_in_s(payment) is not None

    sandbox.clear_faults()
    due(payment)
    reconcile.poll()
    assert fresh(payment).state == "succeeded"


def test_an_order_that_the_gateway_does_not_know_expires_in_time(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    PaymentStart.objects.update(ref="order_gone")
    due(payment)
    reconcile.poll()
    assert fresh(payment).state == "pending"

    aged(payment, minutes=61)
    reconcile.poll()
    assert fresh(payment).state == "expired"


def test_an_order_whose_answer_was_lost_is_found_and_settled(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    pay(sandbox, payment)
    PaymentStart.objects.update(ref=None)
    Payment.objects.update(state="created", next_at=Now())

    reconcile.poll()

    assert fresh(payment).state == "succeeded"
    assert available(alice) == 105
    books.check()


def test_a_start_that_never_reached_the_gateway_expires(
    alice: User, sandbox: RunningSandbox, settings: Settings
) -> None:
    real = settings.RAZORPAY_BASE_URL
    settings.RAZORPAY_BASE_URL = "http://127.0.0.1:9"
    with pytest.raises(Exception, match="not available"):
        start(alice)
    settings.RAZORPAY_BASE_URL = real
    payment = Payment.objects.get()
    aged(payment, minutes=61)

    reconcile.poll()

    assert fresh(payment).state == "expired"


def test_one_gateway_that_is_away_is_asked_once_a_round(alice: User, sandbox: RunningSandbox) -> None:
    made = [start(alice, f"credits:{n}") for n in range(10, 15)]
    due(*made)
    sandbox.fault("razorpay", "500", count=None)
    sandbox.call("DELETE", "/control/requests")
    before = len(sandbox.requests(provider="razorpay"))

    assert reconcile.poll() == 1

    assert len(sandbox.requests(provider="razorpay")) - before == 1
    assert not Payment.objects.filter(lease_until__gt=Now()).exists()
    sandbox.clear_faults()


def test_one_payment_that_cannot_be_applied_is_filed_and_the_others_go_on(
    alice: User, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = start(alice, "credits:10"), start(alice, "credits:20")
    for payment in (bad, good):
        pay(sandbox, payment)
    due(bad, good)
    real = payments.refresh

    def refresh(payment: Payment, **facts: Any) -> Payment:
        if payment.pk == bad.pk:
            raise ZeroDivisionError
        return real(payment, **facts)

    monkeypatch.setattr("billing.payments.refresh", refresh)
    reconcile.poll()

    assert (fresh(bad).state, fresh(good).state) == ("pending", "succeeded")
    assert Break.objects.get().kind == "unapplied"
    monkeypatch.undo()
    due(bad)
    reconcile.poll()
    assert fresh(bad).state == "succeeded"
    books.check()


@pytest.mark.django_db(transaction=True)
def test_pollers_at_once_share_the_work(alice: User, sandbox: RunningSandbox) -> None:
    made = [start(alice, f"credits:{n}") for n in range(10, 22)]
    for payment in made:
        pay(sandbox, payment)
    due(*made)

    looked = together(*[reconcile.poll for _ in range(4)])

    assert sum(looked) == 12
    assert set(Payment.objects.values_list("state", flat=True)) == {"succeeded"}
    assert available(alice) == 5 + sum(range(10, 22))
    books.check()


def test_a_worker_that_died_leaves_its_payments_to_the_next(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    pay(sandbox, payment)
    due(payment)
    Payment.objects.update(
        lease_token="01937a2c-1d87-7b1c-9d3e-5f6071829304", lease_until=Now() + timedelta(seconds=60)
    )

    assert reconcile.poll() == 0
    Payment.objects.update(lease_until=Now() - timedelta(seconds=1))
    assert reconcile.poll() == 1
    assert fresh(payment).state == "succeeded"


def test_every_task_twice_and_on_what_is_over(alice: User, sandbox: RunningSandbox) -> None:
    payment = bought(sandbox, alice)
    due(payment)

    for _ in range(2):
        tasks.poll_payments()
        tasks.send_refunds()
        tasks.walk_gateways()

    assert (fresh(payment).state, available(alice)) == ("succeeded", 105)
    assert not Break.objects.exists()
    books.check()


# --- The walk -------------------------------------------------------------------------------------------------------


def walk_again() -> None:
    GatewayCursor.objects.update(next_at=Now())
    reconcile.walk()


def test_the_walk_finds_money_that_nobody_looks_for_any_more(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    Payment.objects.update(state="expired", next_at=None)
    pay(sandbox, payment)

    assert reconcile.walk() == 3
    assert reconcile.walk() == 0  # an hour has not passed

    assert fresh(payment).state == "succeeded"
    assert available(alice) == 105
    assert not Break.objects.exists()
    books.check()


def test_the_walk_finds_refunds_and_disputes(alice: User, sandbox: RunningSandbox) -> None:
    first, second = bought(sandbox, alice), bought(sandbox, alice, "credits:200")
    sandbox.gateway("payments", first.attempts.get().ref, "refund")
    sandbox.gateway("payments", second.attempts.get().ref, "dispute")

    reconcile.walk()

    assert (fresh(first).state, fresh(second).state) == ("refunded", "disputed")
    assert available(alice) == 5
    books.check()
    sandbox.gateway("disputes", Dispute.objects.get().ref, "win")
    walk_again()
    assert fresh(second).state == "succeeded"
    assert available(alice) == 205
    books.check()


def test_an_open_dispute_is_asked_about_however_old_it_is(alice: User, sandbox: RunningSandbox) -> None:
    payment = bought(sandbox, alice)
    sandbox.gateway("payments", payment.attempts.get().ref, "dispute")
    reconcile.walk()
    sandbox.gateway("disputes", Dispute.objects.get().ref, "lose")
    GatewayCursor.objects.update(position=F("position") + 10 * 86_400, deep_at=Now())

    walk_again()

    assert Dispute.objects.get().state == "lost"
    books.check()


def test_money_that_belongs_to_no_payment_of_ours_is_a_break_once(alice: User, sandbox: RunningSandbox) -> None:
    auth = (sandbox.keys["RAZORPAY_KEY_ID"], sandbox.keys["RAZORPAY_KEY_SECRET"])
    order = sandbox.ask(
        "POST",
        "/razorpay/v1/orders",
        {"amount": 7_700, "currency": "INR", "payment": {"capture": "automatic"}},
        auth=auth,
    )
    handed = sandbox.checkout(order["id"])
    sandbox.gateway("payments", handed["razorpay_payment_id"], "refund", amount="100")
    sandbox.gateway("payments", handed["razorpay_payment_id"], "dispute", amount="100")

    reconcile.walk()
    walk_again()

    filed = {row.kind: row.amount for row in Break.objects.all()}
    assert filed == {"unknown_payment": 7_700, "unknown_refund": 100, "unknown_dispute": 100}
    books.check()


def test_a_failed_try_on_somebody_elses_order_is_nobodys_business(alice: User, sandbox: RunningSandbox) -> None:
    auth = (sandbox.keys["RAZORPAY_KEY_ID"], sandbox.keys["RAZORPAY_KEY_SECRET"])
    order = sandbox.ask("POST", "/razorpay/v1/orders", {"amount": 7_700, "currency": "INR"}, auth=auth)
    sandbox.checkout(order["id"], "fail")

    reconcile.walk()

    assert not Break.objects.exists()


def test_a_walk_that_breaks_off_starts_at_the_same_place(alice: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    pay(sandbox, payment)
    reconcile.walk()
    before = dict(GatewayCursor.objects.values_list("resource", "position"))
    sandbox.fault("razorpay", "500", count=None)

    walk_again()

    sandbox.clear_faults()
    after = {row.resource: row for row in GatewayCursor.objects.all()}
    assert {name: row.position for name, row in after.items()} == before
    assert all(row.failures == 1 and row.error and row.lease_until is None for row in after.values())
    walk_again()
    assert not GatewayCursor.objects.exclude(failures=0, error="").exists()


def test_the_walk_reads_every_page(alice: User, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("billing.gateways.razorpay.PAGE", 2)
    made = [start(alice, f"credits:{n}") for n in range(10, 15)]
    Payment.objects.update(state="canceled", next_at=None)
    for payment in made:
        pay(sandbox, payment)

    reconcile.walk()

    assert set(Payment.objects.values_list("state", flat=True)) == {"succeeded"}
    books.check()


def test_what_is_known_costs_the_walk_two_queries_a_page(
    alice: User, sandbox: RunningSandbox, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    from billing import gateways

    for n in range(10, 15):
        bought(sandbox, alice, f"credits:{n}")
    gateway = gateways.get("razorpay")
    page = gateway.payments_since(0)

    with django_assert_num_queries(1):
        assert list(reconcile._payments(gateway, page.items)) == []


def test_clocks_an_hour_apart_lose_nothing(alice: User, sandbox: RunningSandbox) -> None:
    """The gateway's clock is behind ours: what it dates before our cursor is within the overlap."""
    reconcile.walk()
    payment = start(alice)
    pay(sandbox, payment)
    Payment.objects.update(state="expired", next_at=None)
    GatewayCursor.objects.update(position=F("position") + 3600, deep_at=Now())

    walk_again()

    assert fresh(payment).state == "succeeded"


def test_refunds_of_ours_are_not_found_twice(alice: User, finance: User, sandbox: RunningSandbox) -> None:
    payment = bought(sandbox, alice)
    refunds.request(payment_id=payment.pk, amount=10_000, reason="asked", actor=finance)

    walk_again()

    assert Refund.objects.count() == 1
    assert PaymentAttempt.objects.get().refunded == 10_000
    assert not Break.objects.exists()
    books.check()


def test_tend_has_nothing_to_do_without_disputes(db: None) -> None:
    assert disputes.tend() == 0


def test_an_adopted_order_is_ours_by_reference_not_by_notes(alice: User, bob: User, sandbox: RunningSandbox) -> None:
    payment = start(alice)
    auth = (sandbox.keys["RAZORPAY_KEY_ID"], sandbox.keys["RAZORPAY_KEY_SECRET"])
    fake = sandbox.ask(
        "POST",
        "/razorpay/v1/orders",
        {
            "amount": 100,
            "currency": "INR",
            "receipt": "x",
            "notes": {"payment": str(payment.pk)},
            "payment": {"capture": "automatic"},
        },
        auth=auth,
    )
    sandbox.checkout(fake["id"])

    reconcile.walk()

    assert fresh(payment).state == "pending"
    assert order_of(payment) != fake["id"]
    assert Break.objects.get().kind == "unknown_payment"


def test_a_pass_with_nothing_due_looks_at_the_due_ones_only(
    db: None, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    """Not at every payment there ever was: no index leads to a lease."""
    with django_assert_num_queries(1):
        assert reconcile.poll() == 0

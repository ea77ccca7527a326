"""A process that dies in the middle of a change to a subscription, a dispute or a price; once more, and it is right."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from accounts.models import User
from audit import approvals
from billing import ledger, payments, plans, staff_prices, subscriptions
from billing.models import Dispute, Payment, Plan, Subscription, SubscriptionChange, SubscriptionInvoice
from core.ids import new_id
from core.killpoints import POINTS
from notifications.models import Mail
from tests import books
from tests.billing import striping
from tests.billing.buying import available
from tests.billing.given import spent
from tests.billing.test_subscriptions import begun, call, due, first_paid, fresh, live_lots, living
from tests.dying import die_at
from tests.people import make_user
from tests.sandbox.process import RunningSandbox
from tests.scenarios.time import pass_time

pytestmark = pytest.mark.django_db(transaction=True)

SETTLING = [
    "subscriptions.invoice.taken",
    "subscriptions.period.former_ended",
    "subscriptions.period.granted",
    "subscriptions.invoices.settled",
]
WALKED = [
    *SETTLING,
    "subscriptions.start.committed",
    "subscriptions.start.answered",
    "subscriptions.upgrade.committed",
    "subscriptions.upgrade.answered",
    "subscriptions.month.granted",
    "subscriptions.end.committed",
    "subscriptions.end.answered",
    "disputes.opened",
    "disputes.lost",
    "disputes.recovered",
    "prices.changed",
]


@pytest.fixture
def alice(transactional_db: None) -> User:
    return make_user("alice@example.com")


def look() -> Subscription:
    return subscriptions.refresh(Subscription.objects.get())


def sweep() -> Subscription:
    """What the worker does when the time has come."""
    due(Subscription.objects.get())
    subscriptions.poll()
    return fresh(Subscription.objects.get())


def mailed(name: str) -> int:
    return Mail.objects.filter(name=f"subscription-{name}").count()


def test_every_point_is_walked() -> None:
    assert sorted(WALKED) == sorted(
        name for name in POINTS if name.startswith(("subscriptions.", "disputes.", "prices."))
    )


@pytest.mark.parametrize("point", ["subscriptions.start.committed", "subscriptions.start.answered"])
def test_a_death_while_beginning(alice: User, sandbox: RunningSandbox, point: str) -> None:
    die_at(point, lambda: call(alice, "post", "", {"plan": "starter"}))
    pass_time(120)

    answer = call(alice, "post", "", {"plan": "starter"})

    assert answer.status_code == 201, answer.json()
    row = Subscription.objects.get()
    first_paid(sandbox, row)
    assert sweep().state == "active"
    assert available(alice) == 105
    begun_there = [
        one for one in sandbox.requests(provider="stripe", method="POST") if one["path"] == "/v1/subscriptions"
    ]
    assert len({one["headers"].get("idempotency-key") for one in begun_there}) == 1
    books.check()


@pytest.mark.parametrize("point", SETTLING)
def test_a_death_while_the_first_invoice_settles(alice: User, sandbox: RunningSandbox, point: str) -> None:
    first_paid(sandbox, begun(alice))
    die_at(point, look)

    assert sweep().state == "active"

    assert available(alice) == 105
    assert (Payment.objects.get().granted, mailed("started")) == (100, 1)
    books.check()


@pytest.mark.parametrize("point", SETTLING)
def test_a_death_while_renewing(alice: User, sandbox: RunningSandbox, point: str) -> None:
    row = living(sandbox, alice)
    for act in ("renew", "finalize"):
        sandbox.stripe_dashboard("subscriptions", str(row.ref), act)
    die_at(point, look)

    renewed = sweep()

    assert renewed.period_start == row.period_end
    assert live_lots(alice) == [("subscription", 100)]
    assert available(alice) == 105
    assert (Payment.objects.count(), mailed("renewed")) == (2, 1)
    books.check()


@pytest.mark.parametrize("point", ["subscriptions.upgrade.committed", "subscriptions.upgrade.answered"])
def test_a_death_while_upgrading(alice: User, sandbox: RunningSandbox, point: str) -> None:
    row = living(sandbox, alice)
    die_at(point, lambda: call(alice, "put", f"/{row.pk}", {"plan": "pro"}))
    sweep()
    pass_time(120)

    answer = call(alice, "put", f"/{row.pk}", {"plan": "pro"})

    assert answer.status_code == 200, answer.json()
    assert answer.json()["plan"]["code"] == "pro"
    change = SubscriptionChange.objects.get()
    assert (change.state, available(alice)) == ("applied", 105 + change.credits)
    assert Payment.objects.filter(subscription_invoice__reason="subscription_update").count() == 1
    books.check()


@pytest.mark.parametrize("point", ["subscriptions.upgrade.committed", "subscriptions.upgrade.answered"])
def test_a_death_while_upgrading_that_nobody_repeats(alice: User, sandbox: RunningSandbox, point: str) -> None:
    row = living(sandbox, alice)
    die_at(point, lambda: call(alice, "put", f"/{row.pk}", {"plan": "pro"}))
    SubscriptionChange.objects.update(created_at=Now() - timedelta(minutes=3))

    for _ in range(2):
        assert sweep().plan.code == "pro"

    change = SubscriptionChange.objects.get()
    assert (change.state, available(alice)) == ("applied", 105 + change.credits)
    assert Payment.objects.filter(subscription_invoice__reason="subscription_update").count() == 1
    books.check()


def test_a_death_while_a_month_is_granted(alice: User, sandbox: RunningSandbox) -> None:
    living(sandbox, alice, "starter", "year")
    SubscriptionInvoice.objects.update(next_month_at=Now())
    die_at("subscriptions.month.granted", subscriptions.grant_months)
    assert live_lots(alice) == [("subscription", 100)]

    assert (subscriptions.grant_months(), subscriptions.grant_months()) == (1, 0)

    assert (SubscriptionInvoice.objects.get().months, Payment.objects.get().granted) == (2, 200)
    assert live_lots(alice) == [("subscription", 100)]
    books.check()


@pytest.mark.parametrize("point", ["subscriptions.end.committed", "subscriptions.end.answered"])
def test_a_death_while_ending_at_once(alice: User, sandbox: RunningSandbox, point: str) -> None:
    row = living(sandbox, alice)
    die_at(point, lambda: subscriptions.cancel(row, at_once=True))

    subscriptions.poll()

    ended = fresh(row)
    assert (ended.state, ended.credits_lost, available(alice), mailed("canceled")) == ("canceled", 100, 5, 1)
    assert len(sandbox.requests(provider="stripe", method="DELETE")) == 1
    books.check()


def test_a_death_at_each_step_of_a_dispute(alice: User, sandbox: RunningSandbox) -> None:
    payment = striping.bought(sandbox, alice)
    dispute = sandbox.stripe_dashboard("charges", striping.charge_of(payment), "dispute")
    die_at("disputes.opened", lambda: payments.refresh(payment))
    assert not Dispute.objects.exists()
    payments.refresh(payment)
    assert available(alice) == 5

    sandbox.stripe_dashboard("disputes", dispute["id"], "lose")
    die_at("disputes.lost", lambda: payments.refresh(payment))
    assert Dispute.objects.get().state == "open"
    for _ in range(2):
        payments.refresh(payment)

    payment.refresh_from_db()
    assert (payment.state, payment.lost, payment.taken, available(alice)) == ("refunded", 999, 100, 5)
    books.check()


@pytest.mark.parametrize("spent_before", [0, 35])
def test_a_death_while_a_lost_dispute_is_won_late(alice: User, sandbox: RunningSandbox, spent_before: int) -> None:
    payment = striping.bought(sandbox, alice)
    if spent_before:
        spent(alice, 5 + spent_before)  # what was given at sign-up goes first
    dispute = sandbox.stripe_dashboard("charges", striping.charge_of(payment), "dispute")
    sandbox.stripe_dashboard("disputes", dispute["id"], "lose")
    payments.refresh(payment)
    owed = ledger.balance(alice.pk).debt
    assert (Dispute.objects.get().state, owed) == ("lost", spent_before)
    sandbox.stripe_dashboard("disputes", dispute["id"], "win")

    die_at("disputes.recovered", lambda: payments.refresh(payment))
    assert (Dispute.objects.get().state, ledger.balance(alice.pk).debt) == ("lost", owed)
    for _ in range(2):
        payments.refresh(payment)

    payment.refresh_from_db()
    row = Dispute.objects.get()
    assert (payment.state, payment.lost, payment.taken, row.state, row.lost) == ("succeeded", 0, 0, "won", 0)
    now = ledger.balance(alice.pk)
    assert (now.available, now.frozen, now.debt) == (100 - spent_before if spent_before else 105, 0, 0)
    books.check()


def test_a_death_while_a_price_changes(transactional_db: None) -> None:
    finance, boss = make_user("finance@example.test"), make_user("boss@example.test")
    User.objects.filter(pk__in=[finance.pk, boss.pk]).update(is_staff=True, is_superuser=True)
    old = Plan.objects.get(code="pro", interval="month")
    asked = staff_prices.ask(
        request_id=new_id(),
        kind="plan",
        row_id=old.pk,
        new=staff_prices.figures(old) | {"amount": 3_999},
        reason="Costs.",
        actor=User.objects.get(pk=finance.pk),
    )
    boss = User.objects.get(pk=boss.pk)
    die_at("prices.changed", lambda: approvals.approve(asked.pk, approver=boss, reason="Yes."))
    assert plans.named("pro", "month") == old

    approvals.approve(asked.pk, approver=boss, reason="Yes.")

    assert (plans.named("pro", "month").amount, Plan.objects.filter(code="pro").count()) == (3_999, 3)

"""Subscriptions, sentence by sentence: one at a time, credits by invoice, changes, endings, no webhook needed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db.models import F
from django.db.models.functions import Now
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.models import User
from billing import leaving, ledger, payments, plans, reconcile, refunds, statistics, subscriptions
from billing.gateways import stripe_subscriptions
from billing.models import (
    Break,
    CreditLot,
    GatewayCursor,
    GatewayCustomer,
    Payment,
    Plan,
    Subscription,
    SubscriptionChange,
    SubscriptionInvoice,
)
from billing.subscriptions import changes, opening
from inbox import deliveries
from inbox.models import Delivery
from notifications.models import Mail
from tests import books
from tests.billing.buying import available, together
from tests.billing.striping import deliver, deliver_and_handle, logged
from tests.people import api
from tests.sandbox.process import RunningSandbox, wait_for

pytestmark = pytest.mark.django_db
APP = "https://app.example.com"


@pytest.fixture(autouse=True)
def origins(settings: Settings) -> None:
    settings.ALLOWED_ORIGINS = [APP]


def call(user: User, method: str, path: str, body: Any = None, key: str = "a") -> Any:
    client = api(user, **{"Idempotency-Key": key})
    return getattr(client, method)(f"/api/v1/subscriptions{path}", body or {})


def begun(user: User, plan: str = "starter", interval: str = "month") -> Subscription:
    return subscriptions.start(user=user, plan=plan, interval=interval).subscription


def first_paid(sandbox: RunningSandbox, row: Subscription, **form: Any) -> None:
    """The customer pays the first invoice with Stripe's library."""
    sandbox.stripe_checkout(row.secret.partition("_secret_")[0], **form)


def living(sandbox: RunningSandbox, user: User, plan: str = "starter", interval: str = "month") -> Subscription:
    """An active subscription."""
    row = begun(user, plan, interval)
    first_paid(sandbox, row)
    return subscriptions.refresh(row)


def tick(sandbox: RunningSandbox, row: Subscription, act: str = "renew") -> Subscription:
    """Stripe's clock moves on, past the hour of a renewal's draft, and we look."""
    moved = sandbox.stripe_dashboard("subscriptions", str(row.ref), act)
    if act in ("renew", "fail") and moved["status"] == "active":
        sandbox.stripe_dashboard("subscriptions", str(row.ref), "finalize")
    return subscriptions.refresh(row)


def fresh(row: Subscription) -> Subscription:
    return Subscription.objects.select_related("plan", "next_plan").get(pk=row.pk)


def due(row: Subscription) -> None:
    Subscription.objects.filter(pk=row.pk).update(next_check_at=Now())


def mails(name: str) -> int:
    return Mail.objects.filter(name=f"subscription-{name}").count()


def live_lots(user: User) -> list[tuple[str, int]]:
    lots = CreditLot.objects.filter(wallet__user=user, exhausted_at__isnull=True, expires_at__gt=Now()).order_by("pk")
    return list(lots.values_list("category", "remaining"))


# --- Plans ----------------------------------------------------------------------------------------------------------


def test_plans_are_public_and_seeded() -> None:
    body = api().get("/api/v1/subscriptions/plans").json()["plans"]

    assert [
        (row["code"], row["interval"], row["price"]["amount"], row["credits"], row["max_avatars"]) for row in body
    ] == [
        ("starter", "month", 999, 100, 3),
        ("pro", "month", 2_999, 500, 10),
        ("enterprise", "month", 9_999, 2_000, 50),
        ("starter", "year", 9_999, 100, 3),
        ("pro", "year", 29_999, 500, 10),
        ("enterprise", "year", 99_999, 2_000, 50),
    ]


def test_sync_plans_carries_them_once(sandbox: RunningSandbox) -> None:
    call_command("sync_plans")
    refs = list(Plan.objects.values_list("price_ref", flat=True))
    call_command("sync_plans")

    assert all(refs)
    assert list(Plan.objects.values_list("price_ref", flat=True)) == refs
    posted = [one for one in sandbox.requests(provider="stripe", method="POST") if one["path"].endswith("/prices")]
    assert len(posted) == 6
    Plan.objects.filter(code="pro", interval="month").update(amount=3_499)
    call_command("sync_plans")
    assert Plan.objects.get(code="pro", interval="month").price_ref not in refs


# --- Beginning ------------------------------------------------------------------------------------------------------


def test_the_first_invoice_gives_the_first_months_credits(alice: User, sandbox: RunningSandbox) -> None:
    assert plans.avatar_limit(alice.pk) == 1
    answer = call(alice, "post", "", {"plan": "starter"})

    assert answer.status_code == 201
    body = answer.json()
    assert (body["status"], body["plan"]["code"]) == ("incomplete", "starter")
    assert body["client"]["client_secret"].startswith(f"{body['client']['payment_intent']}_secret_")
    assert available(alice) == 5
    assert statistics.of(user=alice)["account"]["plan"] is None
    sandbox.stripe_checkout(body["client"]["payment_intent"])
    deliver_and_handle(sandbox, "invoice.paid")

    now = call(alice, "get", "/current").json()["subscription"]
    assert (now["status"], now["client"]) == ("active", None)
    assert statistics.of(user=alice)["account"]["plan"] == "starter"
    assert available(alice) == 105
    assert plans.avatar_limit(alice.pk) == 3
    deliver_and_handle(sandbox, "invoice.payment_succeeded")  # its twin gives nothing more
    deliver_and_handle(sandbox, "customer.subscription.updated")
    assert available(alice) == 105
    assert (mails("started"), Mail.objects.filter(name="payment-confirmation").count()) == (1, 0)
    lot = CreditLot.objects.get(category="subscription")
    row = Subscription.objects.get()
    assert lot.expires_at == row.period_end + timedelta(days=3)  # type: ignore[operator]
    books.check()


def test_one_lives_at_a_time(alice: User, sandbox: RunningSandbox) -> None:
    call(alice, "post", "", {"plan": "starter"}, key="a")

    second = call(alice, "post", "", {"plan": "pro"}, key="b")
    assert (second.status_code, second.json()["error"]) == (409, "subscription_exists")
    again = call(alice, "post", "", {"plan": "starter"}, key="a")
    assert again.status_code == 201
    assert Subscription.objects.count() == 1
    assert call(alice, "post", "", {"plan": "gold"}, key="c").status_code == 400


@pytest.mark.django_db(transaction=True)
def test_many_at_once_begin_one(alice: User, sandbox: RunningSandbox) -> None:
    answers = together(*[lambda n=n: call(alice, "post", "", {"plan": "starter"}, key=str(n)) for n in range(8)])

    assert sorted(answer.status_code for answer in answers) == [201, *[409] * 7]
    assert Subscription.objects.count() == 1
    assert GatewayCustomer.objects.count() == 1


@pytest.mark.parametrize("mode", ["refuse", "truncated"])
def test_a_lost_answer_is_resumed_by_the_same_key(alice: User, sandbox: RunningSandbox, mode: str) -> None:
    call_command("sync_plans")
    sandbox.fault("stripe", mode, when="after", method="POST", path="/subscriptions")

    lost = call(alice, "post", "", {"plan": "starter"})
    again = call(alice, "post", "", {"plan": "starter"})

    assert (lost.status_code, lost.json()["charged"], again.status_code) == (502, "unknown", 201)
    first_paid(sandbox, Subscription.objects.get())
    subscriptions.refresh(Subscription.objects.get())
    assert available(alice) == 105
    books.check()


def test_a_lost_answer_is_found_by_the_poller_too(alice: User, sandbox: RunningSandbox) -> None:
    call_command("sync_plans")
    sandbox.fault("stripe", "refuse", when="after", method="POST", path="/subscriptions")
    call(alice, "post", "", {"plan": "starter"})
    due(Subscription.objects.get())

    assert subscriptions.poll() == 1

    assert Subscription.objects.get().secret
    assert call(alice, "get", "/current").json()["subscription"]["client"]["client_secret"]


def test_a_webhook_that_finds_it_first_takes_nothing_from_the_answer(
    alice: User, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stripe tells of a subscription before we have read its answer, and the event's handler writes its id down."""
    begin = stripe_subscriptions.begin

    def overtaken(**asked: Any) -> Any:
        answer = begin(**asked)
        there = stripe_subscriptions.find(subscription_id=asked["subscription_id"], customer_ref=asked["customer_ref"])
        assert there is not None
        opening.tie(asked["subscription_id"], there)
        return answer

    monkeypatch.setattr(stripe_subscriptions, "begin", overtaken)
    answer = call(alice, "post", "", {"plan": "starter"})

    assert answer.status_code == 201
    assert answer.json()["client"]["client_secret"]
    assert Subscription.objects.get().secret == answer.json()["client"]["client_secret"]


def test_what_nobody_pays_expires_and_frees_the_place(alice: User, sandbox: RunningSandbox) -> None:
    row = begun(alice)

    assert tick(sandbox, row, "lapse").state == "expired"
    assert call(alice, "get", "/current").json() == {"subscription": None}
    assert call(alice, "post", "", {"plan": "pro"}, key="b").status_code == 201
    assert mails("canceled") == 0


def test_a_second_that_becomes_active_anyway_is_canceled_and_refunded(alice: User, sandbox: RunningSandbox) -> None:
    lost = begun(alice)
    Subscription.objects.filter(pk=lost.pk).update(state="expired", next_check_at=None)
    kept = living(sandbox, alice, "pro")
    first_paid(sandbox, lost)

    deliver_and_handle(sandbox, "invoice.paid")
    refunds.send_due()
    subscriptions.refresh(lost)

    assert fresh(lost).state == "expired"
    assert fresh(kept).state == "active"
    payment = Payment.objects.get(subscription_invoice__subscription=lost)
    assert (payments.refresh(payment).state, payment.amount) == ("refunded", 999)
    [told] = [one for one in sandbox.requests(provider="stripe", method="DELETE")]
    assert told["path"].endswith(str(lost.ref))
    assert available(alice) == 505
    books.check()


def test_without_keys_there_are_no_subscriptions(alice: User, sandbox: RunningSandbox, settings: Settings) -> None:
    settings.STRIPE_SECRET_KEY = ""

    answer = call(alice, "post", "", {"plan": "starter"})

    assert (answer.status_code, answer.json()["error"]) == (503, "gateway_unavailable")
    assert not Subscription.objects.exists()


# --- Renewal --------------------------------------------------------------------------------------------------------


def test_a_renewal_gives_new_credits_and_ends_the_former(alice: User, sandbox: RunningSandbox) -> None:
    row = living(sandbox, alice)
    ends = row.period_end
    ledger.hold(user_id=alice.pk, amount=30, key="k", subject=("job", row.pk), alarm_at=row.created_at)
    ledger.capture(key="k")

    row = tick(sandbox, row)

    assert row.period_start == ends
    assert live_lots(alice) == [("subscription", 100)]
    assert available(alice) == 105  # 5 promo, nothing rolled over
    assert (mails("started"), mails("renewed")) == (1, 1)
    books.check()


def test_a_renewal_needs_no_webhook(alice: User, sandbox: RunningSandbox) -> None:
    row = living(sandbox, alice)
    wait = Subscription.objects.annotate(wait=F("next_check_at") - F("period_end")).get(pk=row.pk).wait  # type: ignore[attr-defined]
    assert wait == timedelta(hours=1)
    assert subscriptions.poll() == 0
    sandbox.stripe_dashboard("subscriptions", str(row.ref), "renew")
    due(row)

    assert subscriptions.poll() == 1

    # The period has moved, its invoice is a draft: nothing is paid or given, and we look again within the hour.
    assert fresh(row).period_start == row.period_end
    assert SubscriptionInvoice.objects.get(reason="subscription_cycle").status == "draft"
    assert (Payment.objects.count(), live_lots(alice), mails("renewed")) == (1, [("subscription", 100)], 0)
    wait = Subscription.objects.annotate(wait=F("next_check_at") - Now()).get(pk=row.pk).wait  # type: ignore[attr-defined]
    assert timedelta(minutes=50) < wait <= timedelta(hours=1)
    sandbox.advance(3_600)
    wait_for(lambda: logged(sandbox, "invoice.paid")[1:], "Stripe's hour is over")
    due(row)

    assert subscriptions.poll() == 1

    assert SubscriptionInvoice.objects.filter(reason="subscription_cycle", status="paid").count() == 1
    assert available(alice) == 105
    books.check()


def test_the_walk_alone_settles_a_renewal_and_files_nothing(alice: User, sandbox: RunningSandbox) -> None:
    row = living(sandbox, alice)
    reconcile.walk()
    for act in ("renew", "finalize"):
        sandbox.stripe_dashboard("subscriptions", str(row.ref), act)
    GatewayCursor.objects.update(next_at=Now())

    reconcile.walk()

    assert SubscriptionInvoice.objects.filter(reason="subscription_cycle", payment__isnull=False).count() == 1
    assert not Break.objects.exists()
    books.check()


def test_webhooks_of_a_draft_give_nothing_and_those_of_its_payment_once(alice: User, sandbox: RunningSandbox) -> None:
    row = living(sandbox, alice)
    sandbox.stripe_dashboard("subscriptions", str(row.ref), "renew")

    for event in ("invoice.created", "customer.subscription.updated"):
        deliver_and_handle(sandbox, event)

    assert SubscriptionInvoice.objects.get(reason="subscription_cycle").status == "draft"
    assert (Payment.objects.count(), mails("renewed")) == (1, 0)
    assert live_lots(alice) == [("subscription", 100)]  # the former period's live on for three days
    sandbox.stripe_dashboard("subscriptions", str(row.ref), "finalize")
    for event in ("invoice.finalized", "invoice.paid", "invoice.payment_succeeded"):
        deliver_and_handle(sandbox, event)
    assert (Payment.objects.count(), mails("renewed"), live_lots(alice)) == (2, 1, [("subscription", 100)])
    assert fresh(row).next_check_at > row.period_end  # type: ignore[operator]
    books.check()


def test_ended_at_once_a_draft_is_never_paid(alice: User, sandbox: RunningSandbox) -> None:
    row = living(sandbox, alice)
    sandbox.stripe_dashboard("subscriptions", str(row.ref), "renew")

    subscriptions.cancel(row, at_once=True)
    sandbox.advance(3_600)
    subscriptions.refresh(row)

    assert (fresh(row).state, Payment.objects.count(), available(alice)) == ("canceled", 1, 5)
    assert SubscriptionInvoice.objects.get(reason="subscription_cycle").status in ("draft", "void")
    books.check()


def test_dunning_keeps_credits_until_stripe_gives_up(alice: User, sandbox: RunningSandbox) -> None:
    row = living(sandbox, alice)

    assert tick(sandbox, row, "fail").state == "past_due"
    assert (available(alice), plans.avatar_limit(alice.pk), mails("payment-failed")) == (105, 3, 1)
    subscriptions.refresh(row)
    assert mails("payment-failed") == 1
    assert tick(sandbox, row, "give-up").state == "canceled"
    assert plans.avatar_limit(alice.pk) == 1
    assert fresh(row).next_check_at is None
    assert mails("canceled") == 1
    books.check()


def test_one_that_stripe_leaves_unpaid_is_over_there_too(alice: User, sandbox: RunningSandbox) -> None:
    row = living(sandbox, alice)
    tick(sandbox, row, "fail")

    assert tick(sandbox, row, "unpaid").state == "expired"

    assert [one["path"] for one in sandbox.requests(provider="stripe", method="DELETE")] == [
        f"/v1/subscriptions/{row.ref}"
    ]
    assert plans.avatar_limit(alice.pk) == 1
    subscriptions.refresh(row)
    assert fresh(row).state == "expired"
    books.check()


def test_late_dunning_still_pays_the_period(alice: User, sandbox: RunningSandbox) -> None:
    row = living(sandbox, alice)
    tick(sandbox, row, "fail")

    row = tick(sandbox, row, "retry")

    assert row.state == "active"
    assert live_lots(alice) == [("subscription", 100)]
    lot = CreditLot.objects.filter(category="subscription").latest("pk")
    assert lot.expires_at == row.period_end + timedelta(days=3)  # type: ignore[operator]
    books.check()


def test_a_period_paid_after_its_end_lasts_three_days(alice: User, sandbox: RunningSandbox) -> None:
    row = living(sandbox, alice)
    invoice = SubscriptionInvoice.objects.get()
    paid_at = invoice.paid_at

    from billing.subscriptions import goods

    long_ago = row.created_at - timedelta(days=60)
    invoice.period_start, invoice.period_end = long_ago, long_ago + timedelta(days=30)
    assert max(invoice.period_end, goods._paid_at(invoice)) + goods.GRACE == paid_at + timedelta(days=3)  # type: ignore[operator]


# --- Changes --------------------------------------------------------------------------------------------------------


def test_an_upgrade_begins_at_once_for_the_time_left(alice: User, sandbox: RunningSandbox) -> None:
    row = living(sandbox, alice)

    answer = call(alice, "put", f"/{row.pk}", {"plan": "pro"})

    assert answer.status_code == 200
    assert (answer.json()["plan"]["code"], answer.json()["next_plan"]) == ("pro", None)
    change = SubscriptionChange.objects.get()
    assert (change.state, change.credits) == ("applied", available(alice) - 105)
    assert 395 <= change.credits <= 400  # 400 less what has passed since
    assert plans.avatar_limit(alice.pk) == 10
    prorated = Payment.objects.get(subscription_invoice__reason="subscription_update")
    assert 1_950 <= prorated.received <= 2_000
    call(alice, "put", f"/{row.pk}", {"plan": "pro"}, key="b")  # once a period
    subscriptions.refresh(row)
    assert SubscriptionChange.objects.count() == 1
    assert available(alice) == 105 + change.credits
    books.check()
    assert tick(sandbox, row).plan.code == "pro"
    assert live_lots(alice) == [("subscription", 500)]
    books.check()


def test_an_upgrade_in_a_periods_last_seconds_costs_and_gives_nothing(
    alice: User, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = living(sandbox, alice)
    assert row.period_end is not None
    last = row.period_end - timedelta(seconds=30)
    monkeypatch.setattr(changes.timezone, "now", lambda: last)

    answer = call(alice, "put", f"/{row.pk}", {"plan": "pro"})

    assert (answer.status_code, answer.json()["plan"]["code"]) == (200, "pro")
    assert SubscriptionChange.objects.get().state == "applied"
    assert (Payment.objects.count(), available(alice)) == (1, 105)
    subscriptions.refresh(row)
    monkeypatch.undo()
    assert tick(sandbox, row).plan.code == "pro"
    assert live_lots(alice) == [("subscription", 500)]
    books.check()


def test_a_declined_upgrade_changes_nothing(alice: User, sandbox: RunningSandbox) -> None:
    row = living(sandbox, alice)
    sandbox.stripe_dashboard("subscriptions", str(row.ref), "card", card="pm_card_chargeDeclined")

    answer = call(alice, "put", f"/{row.pk}", {"plan": "pro"})

    assert (answer.status_code, answer.json()["error"], answer.json()["charged"]) == (402, "payment_declined", "none")
    assert fresh(row).plan.code == "starter"
    assert SubscriptionChange.objects.get().state == "refused"
    assert available(alice) == 105
    sandbox.stripe_dashboard("subscriptions", str(row.ref), "card", card="pm_card_visa")
    again = call(alice, "put", f"/{row.pk}", {"plan": "pro"})
    assert (again.status_code, again.json()["error"]) == (402, "payment_declined")  # that key asked for that upgrade
    assert call(alice, "put", f"/{row.pk}", {"plan": "pro"}, key="b").json()["plan"]["code"] == "pro"
    books.check()


def test_a_downgrade_waits_for_the_next_period(alice: User, sandbox: RunningSandbox) -> None:
    row = living(sandbox, alice, "pro")

    answer = call(alice, "put", f"/{row.pk}", {"plan": "starter"}).json()

    assert (answer["plan"]["code"], answer["next_plan"]["code"]) == ("pro", "starter")
    assert (available(alice), plans.avatar_limit(alice.pk)) == (505, 10)
    row = tick(sandbox, row)
    assert (fresh(row).plan.code, fresh(row).next_plan) == ("starter", None)
    assert (live_lots(alice), plans.avatar_limit(alice.pk)) == ([("subscription", 100)], 3)
    assert Payment.objects.filter(amount=999).count() == 1
    books.check()


def test_a_downgrade_can_be_taken_back_or_overtaken(alice: User, sandbox: RunningSandbox) -> None:
    row = living(sandbox, alice, "pro")
    call(alice, "put", f"/{row.pk}", {"plan": "starter"}, key="a")

    assert call(alice, "put", f"/{row.pk}", {"plan": "pro"}, key="b").json()["next_plan"] is None
    call(alice, "put", f"/{row.pk}", {"plan": "starter"}, key="c")
    answer = call(alice, "put", f"/{row.pk}", {"plan": "enterprise"}, key="d").json()

    assert (answer["plan"]["code"], answer["next_plan"]) == ("enterprise", None)
    prorated = Payment.objects.get(subscription_invoice__reason="subscription_update")
    assert 6_950 <= prorated.received <= 7_000  # against pro, not against the starter that was to come
    books.check()


def test_a_lost_answer_to_an_upgrade_is_resumed(alice: User, sandbox: RunningSandbox) -> None:
    row = living(sandbox, alice)
    call_command("sync_plans")
    sandbox.fault("stripe", "refuse", when="after", method="POST", path="/subscriptions/")

    lost = call(alice, "put", f"/{row.pk}", {"plan": "pro"})
    again = call(alice, "put", f"/{row.pk}", {"plan": "pro"})

    assert (lost.status_code, again.status_code) == (502, 200)
    assert again.json()["plan"]["code"] == "pro"
    assert Payment.objects.filter(subscription_invoice__reason="subscription_update").count() == 1
    assert available(alice) == 105 + SubscriptionChange.objects.get().credits
    books.check()


def asked_for(row: Subscription, sandbox: RunningSandbox, *, when: str, age: timedelta) -> SubscriptionChange:
    """An upgrade whose call broke off before or after the gateway had it, that long ago."""
    call_command("sync_plans")
    sandbox.fault("stripe", "refuse", when=when, method="POST", path="/subscriptions/")
    assert call(row.user, "put", f"/{row.pk}", {"plan": "pro"}).status_code in (502, 503)
    SubscriptionChange.objects.update(created_at=Now() - age)
    asked = SubscriptionChange.objects.get()
    assert (asked.state, fresh(row).plan.code) == ("requested", "starter")
    return asked


def upgrades_sent(sandbox: RunningSandbox, row: Subscription) -> list[Any]:
    told = sandbox.requests(provider="stripe", method="POST")
    return [one["headers"].get("idempotency-key") for one in told if one["path"].endswith(f"/{row.ref}")]


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_upgrade_that_broke_off_is_finished_by_the_poller(alice: User, sandbox: RunningSandbox, when: str) -> None:
    row = living(sandbox, alice)
    asked = asked_for(row, sandbox, when=when, age=timedelta(minutes=3))
    wait = Subscription.objects.annotate(wait=F("next_check_at") - Now()).get(pk=row.pk).wait  # type: ignore[attr-defined]
    assert wait <= timedelta(minutes=2)
    due(row)

    subscriptions.poll()
    due(row)
    subscriptions.poll()

    asked.refresh_from_db()
    assert (asked.state, fresh(row).plan.code, available(alice)) == ("applied", "pro", 105 + asked.credits)
    assert set(upgrades_sent(sandbox, row)) == {f"change:{asked.pk}"}
    assert Payment.objects.filter(subscription_invoice__reason="subscription_update").count() == 1
    books.check()


def test_an_upgrade_that_is_under_way_is_left_to_whoever_asked(alice: User, sandbox: RunningSandbox) -> None:
    row = living(sandbox, alice)
    asked = asked_for(row, sandbox, when="before", age=timedelta(seconds=30))
    due(row)

    subscriptions.poll()

    asked.refresh_from_db()
    assert (asked.state, len(upgrades_sent(sandbox, row))) == ("requested", 1)  # the one that was lost
    assert fresh(row).next_check_at <= row.period_end  # type: ignore[operator]


@pytest.mark.parametrize("why", ["a day later", "ending", "past its period", "declined"])
def test_an_upgrade_that_may_not_be_asked_for_again_is_given_up(alice: User, sandbox: RunningSandbox, why: str) -> None:
    row = living(sandbox, alice)
    asked_for(row, sandbox, when="before", age=timedelta(hours=25 if why == "a day later" else 2))
    if why == "ending":
        subscriptions.cancel(row)
    if why == "past its period":
        tick(sandbox, row)
    if why == "declined":
        sandbox.stripe_dashboard("subscriptions", str(row.ref), "card", card="pm_card_chargeDeclined")
    due(row)

    subscriptions.poll()

    assert SubscriptionChange.objects.get().state == "refused"
    assert (fresh(row).plan.code, available(alice)) == ("starter", 105)
    assert not Payment.objects.filter(subscription_invoice__reason="subscription_update").exists()
    again = call(alice, "put", f"/{row.pk}", {"plan": "pro"})
    assert (again.status_code, again.json()["charged"]) == (402, "none")
    books.check()


def test_an_upgrade_that_was_charged_after_it_was_given_up_is_given(alice: User, sandbox: RunningSandbox) -> None:
    row = living(sandbox, alice)
    asked = asked_for(row, sandbox, when="after", age=timedelta(hours=25))
    SubscriptionChange.objects.update(state="refused")  # as if its invoice had been out of sight

    subscriptions.refresh(row)

    asked.refresh_from_db()
    assert (asked.state, fresh(row).plan.code, available(alice)) == ("applied", "pro", 105 + asked.credits)
    books.check()


# --- A year ---------------------------------------------------------------------------------------------------------


def months_on(row: Subscription, months: int = 1) -> None:
    """As if the year had begun that much earlier."""
    SubscriptionInvoice.objects.filter(subscription=row, months__gt=0).update(next_month_at=Now())


def test_a_year_is_twelve_monthly_lots(alice: User, sandbox: RunningSandbox) -> None:
    row = living(sandbox, alice, "starter", "year")
    assert available(alice) == 105
    assert subscriptions.grant_months() == 0

    for month in range(2, 13):
        months_on(row)
        assert subscriptions.grant_months() == 1
        assert live_lots(alice) == [("subscription", 100)], month
    months_on(row)

    assert subscriptions.grant_months() == 0
    payment = Payment.objects.get()
    assert (payment.amount, payment.granted) == (9_999, 1_200)
    assert SubscriptionInvoice.objects.get().months == 12
    books.check()


def test_an_upgrade_within_a_year_gives_the_rest_of_the_month_and_dearer_months(
    alice: User, sandbox: RunningSandbox
) -> None:
    row = living(sandbox, alice, "starter", "year")
    months_on(row)
    subscriptions.grant_months()

    answer = call(alice, "put", f"/{row.pk}", {"plan": "pro"}).json()

    assert (answer["plan"]["code"], answer["plan"]["interval"], plans.avatar_limit(alice.pk)) == ("pro", "year", 10)
    change = SubscriptionChange.objects.get()
    # The difference for what is left of this month (its second, which has not begun), not of the year.
    assert (change.state, change.credits, available(alice)) == ("applied", 400, 505)
    prorated = Payment.objects.get(subscription_invoice__reason="subscription_update")
    assert 19_950 <= prorated.received <= 20_000  # the price is for the rest of the year
    lot = CreditLot.objects.filter(source_id=prorated.pk).get()
    year = SubscriptionInvoice.objects.get(reason="subscription_create")
    months_on(row)
    assert subscriptions.grant_months() == 1
    assert live_lots(alice) == [("subscription", 500)]  # nothing of the upgrade is left beside it
    assert (lot.amount, CreditLot.objects.get(pk=lot.pk).remaining) == (400, 0)
    year.refresh_from_db()
    assert (year.months, year.plan.code) == (3, "pro")  # type: ignore[union-attr]
    for _ in range(9):
        months_on(row)
        assert subscriptions.grant_months() == 1
    assert (live_lots(alice), SubscriptionInvoice.objects.filter(next_month_at__isnull=False).count()) == (
        [("subscription", 500)],
        0,
    )
    books.check()
    assert tick(sandbox, row).plan.code == "pro"
    assert (live_lots(alice), available(alice)) == ([("subscription", 500)], 505)
    assert Payment.objects.filter(amount=29_999, credits=500).count() == 1
    books.check()


@pytest.mark.parametrize("how", ["past_due", "canceled", "refunded"])
def test_no_further_month_while_past_due_or_after_the_end(alice: User, sandbox: RunningSandbox, how: str) -> None:
    row = living(sandbox, alice, "starter", "year")
    if how == "past_due":
        Subscription.objects.filter(pk=row.pk).update(state="past_due")
    elif how == "canceled":
        subscriptions.cancel(row, at_once=True)
    else:
        refunds.request(payment_id=Payment.objects.get().pk, amount=9_999, reason="asked", actor=None)
    months_on(row)

    assert subscriptions.grant_months() == 0
    assert live_lots(alice) == ([("subscription", 100)] if how == "past_due" else [])
    books.check()


# --- The end --------------------------------------------------------------------------------------------------------


def test_it_ends_with_its_period_unless_reactivated(alice: User, sandbox: RunningSandbox) -> None:
    row = living(sandbox, alice)

    ending = call(alice, "post", f"/{row.pk}/cancel").json()
    assert (ending["status"], ending["cancel_at_period_end"], ending["credits_lost"]) == ("active", True, 0)
    assert call(alice, "post", f"/{row.pk}/cancel").json()["cancel_at_period_end"] is True
    going = call(alice, "post", f"/{row.pk}/reactivate").json()
    assert going["cancel_at_period_end"] is False
    assert call(alice, "post", f"/{row.pk}/reactivate").status_code == 200
    call(alice, "post", f"/{row.pk}/cancel")
    assert call(alice, "put", f"/{row.pk}", {"plan": "pro"}).json()["error"] == "subscription_not_active"

    assert tick(sandbox, row).state == "canceled"
    assert available(alice) == 105
    assert call(alice, "post", f"/{row.pk}/reactivate").json()["error"] == "subscription_ended"
    assert mails("canceled") == 1
    books.check()


def test_a_look_begun_earlier_undoes_nothing(
    alice: User, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The poller has asked before the customer ends it, and gets to write after that."""
    row = living(sandbox, alice)
    ask, before = stripe_subscriptions.fetch, []

    def overtaken(ref: str) -> Any:
        said = ask(ref)
        if not before:
            before.append(said)
            subscriptions.cancel(row)
        return said

    monkeypatch.setattr(stripe_subscriptions, "fetch", overtaken)
    subscriptions.refresh(row)

    assert before[0][0].cancel_at_period_end is False
    assert fresh(row).cancel_at_period_end is True
    books.check()


def test_ended_at_once_the_rest_of_its_credits_goes(alice: User, sandbox: RunningSandbox) -> None:
    row = living(sandbox, alice)

    ended = call(alice, "post", f"/{row.pk}/cancel", {"at_once": True})

    assert (ended.json()["status"], ended.json()["credits_lost"]) == ("canceled", 100)
    assert available(alice) == 5  # what was given at sign-up stays
    assert plans.avatar_limit(alice.pk) == 1
    assert call(alice, "post", f"/{row.pk}/cancel", {"at_once": True}).json()["credits_lost"] == 100
    books.check()


def test_an_end_whose_answer_was_lost_is_finished_by_the_poller(alice: User, sandbox: RunningSandbox) -> None:
    row = living(sandbox, alice)
    sandbox.fault("stripe", "500", method="DELETE")

    assert call(alice, "post", f"/{row.pk}/cancel", {"at_once": True}).status_code == 502
    due(row)
    subscriptions.poll()

    assert (fresh(row).state, fresh(row).credits_lost, available(alice)) == ("canceled", 100, 5)
    books.check()


def test_letters_come_seven_days_and_one_day_before_the_end(alice: User, sandbox: RunningSandbox) -> None:
    row = living(sandbox, alice)
    assert subscriptions.tell_expiring() == 0
    subscriptions.cancel(row)
    for days, letters in ((8, 0), (6.5, 1), (6, 1), (0.9, 2), (0.1, 2)):
        Subscription.objects.filter(pk=row.pk).update(period_end=Now() + timedelta(days=days))
        if days == 6.5:
            day = fresh(row).period_end
        subscriptions.tell_expiring()
        assert mails("expiring") >= letters, days
    assert day
    Subscription.objects.filter(pk=row.pk).update(period_end=Now() + timedelta(days=0.05))
    before = mails("expiring")
    subscriptions.tell_expiring()
    assert mails("expiring") == before


def test_whoever_leaves_is_charged_no_more(alice: User, sandbox: RunningSandbox) -> None:
    row = living(sandbox, alice)
    sandbox.fault("stripe", "500", method="DELETE")

    assert leaving.erase(user=alice) == ["subscriptions"]
    assert leaving.erase(user=alice) == []

    assert fresh(row).state == "canceled"
    assert available(alice) == 0
    books.check()


# --- Money back -----------------------------------------------------------------------------------------------------


def test_a_refund_takes_the_credits_of_its_period(alice: User, sandbox: RunningSandbox) -> None:
    living(sandbox, alice)
    payment = Payment.objects.get()

    refund = refunds.request(payment_id=payment.pk, amount=999, reason="asked", actor=None)

    assert refund.state == "processed"
    assert available(alice) == 5
    books.check()


def test_a_dispute_over_an_invoice_freezes_what_it_gave(alice: User, sandbox: RunningSandbox) -> None:
    living(sandbox, alice)
    charge = Payment.objects.get().attempts.get().ref
    dispute = sandbox.stripe_dashboard("charges", charge, "dispute")

    deliver_and_handle(sandbox, "charge.dispute.created")
    assert available(alice) == 5
    sandbox.stripe_dashboard("disputes", dispute["id"], "win")
    deliver_and_handle(sandbox, "charge.dispute.closed")

    assert available(alice) == 105
    books.check()


# --- Everything at once, and who may --------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_webhooks_polls_and_looks_at_once_give_one_grant(alice: User, sandbox: RunningSandbox) -> None:
    row = begun(alice)
    first_paid(sandbox, row)
    bodies = [body for event in ("invoice.paid", "invoice.payment_succeeded") for body in logged(sandbox, event)]
    due(row)

    hooks = [lambda body=body: deliver(sandbox, body) for body in bodies for _ in range(5)]
    together(*hooks, *[deliveries.handle_due] * 4, *[subscriptions.poll] * 4, *[lambda: subscriptions.refresh(row)] * 8)
    Delivery.objects.exclude(state="processed").update(next_at=Now(), state="failed")
    deliveries.handle_due()

    assert available(alice) == 105
    assert Payment.objects.count() == 1
    assert mails("started") == 1
    books.check()


def test_strangers_see_nothing(alice: User, bob: User, sandbox: RunningSandbox) -> None:
    row = living(sandbox, alice)

    assert call(bob, "get", "").json()["count"] == 0
    assert call(bob, "get", "/current").json() == {"subscription": None}
    for method, path, body in (
        ("put", f"/{row.pk}", {"plan": "pro"}),
        ("post", f"/{row.pk}/cancel", {}),
        ("post", f"/{row.pk}/reactivate", {}),
    ):
        assert call(bob, method, path, body).status_code == 404
    assert fresh(row).state == "active"
    assert not fresh(row).cancel_at_period_end


def test_the_portal_is_for_those_who_have_something_there(alice: User, sandbox: RunningSandbox) -> None:
    assert call(alice, "post", "/portal").json()["error"] == "no_subscription"
    living(sandbox, alice)

    assert call(alice, "post", "/portal", {"return_url": f"{APP}/account"}).json()["url"].startswith("http")
    assert call(alice, "post", "/portal", {"return_url": "https://evil.example.com/"}).status_code == 400


def test_my_subscriptions_take_a_bounded_number_of_queries(
    alice: User, sandbox: RunningSandbox, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(2):
        subscriptions.cancel(begun(alice), at_once=True)
    client = api(alice)

    with django_assert_max_num_queries(4):
        assert client.get("/api/v1/subscriptions").json()["count"] == 2


@pytest.mark.parametrize(
    "event",
    [
        {"type": "invoice.paid", "data": {"object": {"parent": None}}},
        {"type": "invoice.upcoming", "data": {"object": {"parent": {"subscription_details": []}}}},
        {"type": "customer.subscription.deleted", "data": {"object": {"id": "sub_nobody"}}},
        {"type": "customer.subscription.updated", "data": {"object": {"id": 7, "metadata": {"subscription": "x"}}}},
    ],
)
def test_events_about_nothing_of_ours_do_no_harm(sandbox: RunningSandbox, event: dict[str, Any]) -> None:
    from billing.webhooks import stripe
    from inbox.deliveries import Outcome

    assert stripe.handle(event, stale=False) is Outcome.UNMATCHED

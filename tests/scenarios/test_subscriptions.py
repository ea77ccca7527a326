"""A subscription's life over HTTP, with real workers: with webhooks, and with every one of them dropped."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
import requests
from django.db.models.functions import Now

from billing.models import Subscription
from inbox.models import Delivery
from tests import books
from tests.scenarios.client import Customer
from tests.scenarios.stack import WAKES, Stack, until

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(180)]
keyed = pytest.mark.parametrize(
    "stack",
    [
        {
            name: secrets.token_hex(20)
            for name in ("STRIPE_SECRET_KEY", "STRIPE_PUBLISHABLE_KEY", "STRIPE_WEBHOOK_SECRET")
        }
        | {"WAKE_EVERY_S": f"{WAKES},billing.poll_subscriptions=0.5"}
    ],
    indirect=True,
    ids=["stripe"],
)


class Subscriber(Customer):
    """A person with Stripe's library on one side and Stripe's clock on the other."""

    def current(self) -> Any:
        return self.ok("GET", "subscriptions/current")["subscription"]

    def shows(self, what: str, **wanted: Any) -> Any:
        """The subscription, once it is as wanted."""

        def look() -> Any:
            now = self.current()
            return now if now and all(now[name] == value for name, value in wanted.items()) else None

        return until(look, what, within_s=40)

    def owns(self, credits: int) -> None:
        until(lambda: self.balance()["available"] == credits, f"{credits} credits", within_s=40)

    def at_stripe(self, path: str) -> None:
        response = requests.post(
            f"{self.stack.sandbox}/stripe/{path}", headers={"Accept": "application/json"}, timeout=20
        )
        assert response.ok, response.text


def a_period_passes(person: Subscriber) -> None:
    """To the period's end; a renewal's invoice is a draft for an hour of Stripe's clock, which then passes too."""
    row = Subscription.objects.get()
    person.at_stripe(f"dashboard/subscriptions/{row.ref}/renew")
    clock = f"{person.stack.sandbox}/control/advance"
    requests.post(clock, json={"seconds": 3_600}, timeout=60).raise_for_status()


def the_hour_comes() -> None:
    Subscription.objects.filter(next_check_at__gt=Now()).update(next_check_at=Now())


def drop_webhooks(stack: Stack) -> None:
    """From here on none is sent, and those sent before have been handled."""
    control = f"{stack.sandbox}/control"
    requests.post(f"{control}/webhooks", json={"deliver": False}, timeout=60).raise_for_status()

    def is_quiet() -> bool:
        pending = requests.get(f"{control}/deliveries", params={"state": "pending"}, timeout=60).json()
        return not pending and not Delivery.objects.filter(state__in=["received", "failed"]).exists()

    until(is_quiet, "every webhook is handled")


@keyed
def test_a_subscription_lives_and_ends(stack: Stack) -> None:
    alice = Subscriber(stack, "alice@example.com")
    alice.join()
    alice.owns(5)

    begun = alice.ok("POST", "subscriptions", key="begin", json={"plan": "starter"})
    assert begun["status"] == "incomplete"
    alice.at_stripe(f"checkout/{begun['client']['payment_intent']}/pay")
    first = alice.shows("it lives", status="active")
    alice.owns(105)
    assert alice.ok("GET", "users/me/statistics")["account"]["plan"] == "starter"

    a_period_passes(alice)
    second = alice.shows("a webhook told of the renewal", period_start=first["period_end"])
    alice.owns(105)  # nothing rolls over

    drop_webhooks(stack)
    a_period_passes(alice)
    heard = Delivery.objects.count()
    # Its hour is the one after the period's end; ours has not come, so it is brought on at every look.
    alice.meanwhile = the_hour_comes
    third = alice.shows("the poller saw the renewal", period_start=second["period_end"])
    alice.owns(105)
    until(lambda: alice.current() and len(alice.mails("renew")) >= 2, "two mails of renewals")
    assert len(alice.mails("renew")) == 2

    raised = alice.ok("PUT", f"subscriptions/{third['id']}", key="raise", json={"plan": "pro"})
    assert (raised["plan"]["code"], raised["status"]) == ("pro", "active")
    assert 500 <= alice.balance()["available"] <= 505

    ending = alice.ok("POST", f"subscriptions/{third['id']}/cancel", json={})
    assert (ending["status"], ending["cancel_at_period_end"]) == ("active", True)
    a_period_passes(alice)
    until(lambda: alice.current() is None, "it has ended", within_s=40)
    (over,) = alice.ok("GET", "subscriptions")["results"]
    assert (over["status"], over["credits_lost"]) == ("canceled", 0)
    assert 500 <= alice.balance()["available"] <= 505
    assert alice.ok("GET", "users/me/statistics")["account"]["plan"] is None
    until(lambda: alice.mails("ended|cancel"), "the mail that it has ended")
    assert Delivery.objects.count() == heard
    books.check()

"""Stripe's subscriptions in the simulator, driven by Stripe's own SDK."""

from __future__ import annotations

from typing import Any

import pytest
import stripe
from stripe import StripeClient

from tests.sandbox.process import RunningSandbox, wait_for
from tests.sandbox.receiver import Receiver


def price(bank: StripeClient, amount: int = 999, key: str = "starter-month", interval: str = "month") -> str:
    asked: Any = {
        "currency": "usd",
        "unit_amount": amount,
        "recurring": {"interval": interval},
        "lookup_key": key,
        "product_data": {"name": key},
    }
    return bank.v1.prices.create(asked).id


def subscribe(bank: StripeClient, price_id: str) -> stripe.Subscription:
    customer = bank.v1.customers.create({"email": "a@example.test"})
    asked: Any = {
        "customer": customer.id,
        "items": [{"price": price_id}],
        "payment_behavior": "default_incomplete",
        "payment_settings": {"save_default_payment_method": "on_subscription"},
        "expand": ["latest_invoice.confirmation_secret"],
        "metadata": {"user": "7"},
    }
    return bank.v1.subscriptions.create(asked)


def live(sandbox: RunningSandbox, bank: StripeClient, price_id: str) -> stripe.Subscription:
    made = subscribe(bank, price_id)
    invoice: Any = made.latest_invoice
    sandbox.stripe_checkout(invoice.confirmation_secret.client_secret.partition("_secret_")[0])
    return bank.v1.subscriptions.retrieve(made.id)


def test_prices_are_found_by_their_lookup_key(bank: StripeClient) -> None:
    first = price(bank)

    [found] = bank.v1.prices.list({"lookup_keys": ["starter-month"]}).data
    assert found.id == first
    with pytest.raises(stripe.InvalidRequestError, match="lookup key"):
        price(bank)
    assert not bank.v1.prices.list({"lookup_keys": ["nothing"]}).data


def test_the_first_invoice_is_paid_by_the_customer(
    sandbox: RunningSandbox, bank: StripeClient, receiver: Receiver
) -> None:
    made = subscribe(bank, price(bank))
    assert made.status == "incomplete"
    after = live(sandbox, bank, made["items"].data[0].price.id)

    assert after.status == "active"
    [invoice] = bank.v1.invoices.list({"subscription": after.id, "expand": ["data.payments"]}).data
    assert (invoice.status, invoice.billing_reason, invoice.amount_paid) == ("paid", "subscription_create", 999)
    line: Any = invoice.lines.data[0]
    assert line.parent.subscription_item_details.proration is False
    assert line.period.end == after["items"].data[0].current_period_end
    paying: Any = invoice.payments.data[0].payment  # type: ignore[union-attr]
    asked: Any = {"payment": {"type": "payment_intent", "payment_intent": paying.payment_intent}}
    assert [one.invoice for one in bank.v1.invoice_payments.list(asked).data] == [invoice.id]
    for event in ("invoice.paid", "invoice.payment_succeeded"):
        [received] = receiver.wait(invoice.id, event)
        told = received.json["data"]["object"]["parent"]["subscription_details"]
        assert told == {"metadata": {"user": "7"}, "subscription": after.id}
    receiver.wait(after.id, "customer.subscription.updated")


def test_the_clock_renews_fails_and_gives_up(sandbox: RunningSandbox, bank: StripeClient) -> None:
    made = live(sandbox, bank, price(bank))
    ends = made["items"].data[0].current_period_end

    sandbox.stripe_dashboard("subscriptions", made.id, "renew")
    renewed = bank.v1.subscriptions.retrieve(made.id)
    assert (renewed.status, renewed["items"].data[0].current_period_start) == ("active", ends)
    [draft, _] = bank.v1.invoices.list({"subscription": made.id}).data
    assert (draft.status, draft.amount_due, draft.status_transitions.paid_at) == ("draft", 999, None)
    sandbox.advance(3_500)
    assert bank.v1.invoices.retrieve(draft.id).status == "draft"
    sandbox.advance(200)
    wait_for(lambda: bank.v1.invoices.retrieve(draft.id).status == "paid", "the draft's hour is over")
    sandbox.stripe_dashboard("subscriptions", made.id, "fail")
    assert bank.v1.subscriptions.retrieve(made.id).status == "active"
    sandbox.stripe_dashboard("subscriptions", made.id, "finalize")
    assert bank.v1.subscriptions.retrieve(made.id).status == "past_due"
    sandbox.stripe_dashboard("subscriptions", made.id, "retry")
    assert bank.v1.subscriptions.retrieve(made.id).status == "active"
    reasons = [one.billing_reason for one in bank.v1.invoices.list({"subscription": made.id}).data]
    assert reasons == ["subscription_cycle", "subscription_cycle", "subscription_create"]
    sandbox.stripe_dashboard("subscriptions", made.id, "give-up")
    assert bank.v1.subscriptions.retrieve(made.id).status == "canceled"


def test_changes_prorate_at_once_or_not_at_all(sandbox: RunningSandbox, bank: StripeClient) -> None:
    made = live(sandbox, bank, price(bank))
    dear = price(bank, 2999, "pro-month")
    item = made["items"].data[0].id

    asked: Any = {"items": [{"id": item, "price": dear}], "proration_behavior": "always_invoice"}
    changed = bank.v1.subscriptions.update(made.id, asked)
    assert changed["items"].data[0].price.id == dear
    [invoice, _] = bank.v1.invoices.list({"subscription": made.id}).data
    assert (invoice.billing_reason, invoice.status) == ("subscription_update", "paid")
    assert 1990 <= invoice.amount_paid <= 2000
    asked["proration_behavior"] = "none"
    bank.v1.subscriptions.update(made.id, asked)
    assert len(bank.v1.invoices.list({"subscription": made.id}).data) == 2
    with pytest.raises(stripe.InvalidRequestError, match="name its id"):
        bank.v1.subscriptions.update(made.id, {"items": [{"price": dear}]})


def test_it_ends_now_or_with_the_period(sandbox: RunningSandbox, bank: StripeClient) -> None:
    made = live(sandbox, bank, price(bank))

    assert bank.v1.subscriptions.update(made.id, {"cancel_at_period_end": True}).cancel_at_period_end
    assert not bank.v1.subscriptions.update(made.id, {"cancel_at_period_end": False}).cancel_at_period_end
    bank.v1.subscriptions.update(made.id, {"cancel_at_period_end": True})
    sandbox.stripe_dashboard("subscriptions", made.id, "renew")
    assert bank.v1.subscriptions.retrieve(made.id).status == "canceled"

    other = subscribe(bank, price(bank, key="other"))
    assert bank.v1.subscriptions.cancel(other.id).status == "canceled"
    lapsing = subscribe(bank, price(bank, key="third"))
    sandbox.stripe_dashboard("subscriptions", lapsing.id, "lapse")
    assert bank.v1.subscriptions.retrieve(lapsing.id).status == "incomplete_expired"


def test_the_portal_is_a_link(bank: StripeClient) -> None:
    customer = bank.v1.customers.create({"email": "a@example.test"})
    assert bank.v1.billing_portal.sessions.create({"customer": customer.id}).url.startswith("http")

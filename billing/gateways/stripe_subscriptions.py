"""Subscriptions at Stripe: customers, prices, subscriptions, their invoices, the portal. Facts as plain values.

Source: Stripe's API reference at `stripe_wire.API_VERSION`: the period is on the item, an invoice's subscription in its
parent, what paid it in its payments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from billing.gateways import stripe_wire as wire
from billing.gateways.base import Rejected, Unclear

# `unpaid` and `paused`: Stripe has given up, and so is it over for us.
STATES = {
    "incomplete": "incomplete",
    "incomplete_expired": "expired",
    "trialing": "trialing",
    "active": "active",
    "past_due": "past_due",
    "unpaid": "expired",
    "paused": "expired",
    "canceled": "canceled",
}
INVOICES = 24  # a month each: two years back


@dataclass(frozen=True, slots=True)
class SubscriptionFact:
    """Times in Unix seconds. `has_ended`: at Stripe itself, not only by what we make of it."""

    ref: str
    ours: str
    state: str
    has_ended: bool
    item_ref: str
    price_ref: str
    period_start: int
    period_end: int
    cancel_at_period_end: bool
    secret: str = ""


@dataclass(frozen=True, slots=True)
class InvoiceFact:
    """`price_ref` and the period are those of its line: the full one, else the prorated new one, which comes last."""

    ref: str
    subscription_ref: str
    status: str
    reason: str
    amount: int
    currency: str
    is_full: bool
    price_ref: str
    period_start: int
    period_end: int
    paid_at: int
    attempts: int


def ensure_customer(*, user_id: UUID, email: str) -> str:
    """The person's customer id. Idempotent: by person, for a day; then our row knows."""
    asked: Any = {"email": email, "metadata": {"user": str(user_id)}}
    options: Any = {"idempotency_key": f"customer:{user_id}"}
    return wire.text(wire.ask(lambda client: client.v1.customers.create(asked, options)), "id")


def ensure_price(*, lookup_key: str, name: str, amount: int, currency: str, interval: str) -> str:
    """The price under a lookup key, made if there is none. Idempotent: by the key."""
    found = _price(lookup_key)
    if found:
        return found
    asked: Any = {
        "currency": currency.lower(),
        "unit_amount": amount,
        "recurring": {"interval": interval},
        "lookup_key": lookup_key,
        "product_data": {"name": name},
    }
    try:
        return wire.text(wire.ask(lambda client: client.v1.prices.create(asked)), "id")
    except Rejected:
        found = _price(lookup_key)  # a twin was faster
        if found:
            return found
        raise


def _price(lookup_key: str) -> str:
    asked: Any = {"lookup_keys": [lookup_key], "active": True, "limit": 1}
    items = wire.items_of(wire.ask(lambda client: client.v1.prices.list(asked)))
    return wire.text(items[0], "id") if items else ""


def begin(*, subscription_id: UUID, customer_ref: str, price_ref: str) -> SubscriptionFact:
    """Begin a subscription whose first invoice the client pays. Idempotent: by our id."""
    asked: Any = {
        "customer": customer_ref,
        "items": [{"price": price_ref}],
        "payment_behavior": "default_incomplete",
        "payment_settings": {"save_default_payment_method": "on_subscription"},
        "metadata": {"subscription": str(subscription_id)},
        "expand": ["latest_invoice.confirmation_secret"],
    }
    options: Any = {"idempotency_key": f"subscription:{subscription_id}"}
    return _subscription(wire.ask(lambda client: client.v1.subscriptions.create(asked, options)))


def find(*, subscription_id: UUID, customer_ref: str) -> SubscriptionFact | None:
    """The subscription with our id in it, where one was begun whose answer we never read."""
    asked: Any = {
        "customer": customer_ref,
        "status": "all",
        "limit": wire.PAGE,
        "expand": ["data.latest_invoice.confirmation_secret"],
    }
    for item in wire.every(lambda client: client.v1.subscriptions.list(asked)):
        if wire.note(item, "subscription") == str(subscription_id):
            return _subscription(item)
    return None


def fetch(ref: str) -> tuple[SubscriptionFact, list[InvoiceFact]]:
    """A subscription and its invoices, oldest first."""
    asked: Any = {"expand": ["latest_invoice.confirmation_secret"]}
    found = _subscription(wire.ask(lambda client: client.v1.subscriptions.retrieve(wire.id_of(ref), asked)))
    wanted: Any = {"subscription": ref, "limit": INVOICES}
    items = wire.items_of(wire.ask(lambda client: client.v1.invoices.list(wanted)))
    return found, [_invoice(item) for item in reversed(items)]


def fetch_invoice(ref: str) -> InvoiceFact:
    return _invoice(wire.ask(lambda client: client.v1.invoices.retrieve(wire.id_of(ref))))


def invoice_behind(intent_ref: str) -> str:
    """The invoice that a payment intent pays, or nothing."""
    asked: Any = {"payment": {"type": "payment_intent", "payment_intent": intent_ref}, "limit": 1}
    items = wire.items_of(wire.ask(lambda client: client.v1.invoice_payments.list(asked)))
    return str(items[0].get("invoice") or "") if items else ""


def upgrade(*, ref: str, item_ref: str, price_ref: str, asked_at: int, key: str) -> None:
    """Change the price now and charge for the rest of the period; refused, and nothing changed, if the card is."""
    asked: Any = {
        "items": [{"id": item_ref, "price": price_ref}],
        "proration_behavior": "always_invoice",
        "proration_date": asked_at,
        "payment_behavior": "error_if_incomplete",
    }
    options: Any = {"idempotency_key": key}
    wire.ask(lambda client: client.v1.subscriptions.update(wire.id_of(ref), asked, options))


def change_later(*, ref: str, item_ref: str, price_ref: str) -> None:
    """The price of the next period. Idempotent: by state."""
    asked: Any = {"items": [{"id": item_ref, "price": price_ref}], "proration_behavior": "none"}
    wire.ask(lambda client: client.v1.subscriptions.update(wire.id_of(ref), asked))


def end_with_period(*, ref: str, wanted: bool) -> None:
    """Let it end with the period, or not. Idempotent: by state."""
    asked: Any = {"cancel_at_period_end": wanted}
    wire.ask(lambda client: client.v1.subscriptions.update(wire.id_of(ref), asked))


def end(ref: str) -> None:
    """End it at once. Quiet when it has ended."""
    try:
        wire.ask(lambda client: client.v1.subscriptions.cancel(wire.id_of(ref)))
    except Rejected as error:
        if error.status != 404:
            raise


def portal(*, customer_ref: str, return_url: str) -> str:
    """A short-lived link to where the customer keeps cards and invoices."""
    asked: Any = {"customer": customer_ref}
    if return_url:
        asked["return_url"] = return_url
    return wire.text(wire.ask(lambda client: client.v1.billing_portal.sessions.create(asked)), "url")


def _subscription(item: Mapping[str, Any]) -> SubscriptionFact:
    told = wire.text(item, "status")
    if told not in STATES:
        raise Unclear(f"subscription status {told!r}")
    items = wire.items_of(item.get("items") or {})
    if not items:
        raise Unclear("a subscription without items")
    return SubscriptionFact(
        ref=wire.text(item, "id"),
        ours=wire.note(item, "subscription"),
        state=STATES[told],
        has_ended=told in ("canceled", "incomplete_expired"),
        item_ref=wire.text(items[0], "id"),
        price_ref=str(wire.part(items[0], "price", "id") or ""),
        period_start=wire.whole(items[0], "current_period_start"),
        period_end=wire.whole(items[0], "current_period_end"),
        cancel_at_period_end=item.get("cancel_at_period_end") is True or item.get("cancel_at") is not None,
        secret=str(wire.part(item, "latest_invoice", "confirmation_secret", "client_secret") or ""),
    )


def _invoice(item: Mapping[str, Any]) -> InvoiceFact:
    lines = wire.items_of(item.get("lines") or {})
    full = [line for line in lines if not _is_proration(line)]
    charged = [line for line in lines if isinstance(line.get("amount"), int) and line["amount"] > 0]
    line = (full or charged or lines[-1:] or [{}])[0]
    return InvoiceFact(
        ref=wire.text(item, "id"),
        subscription_ref=str(wire.part(item, "parent", "subscription_details", "subscription") or ""),
        status=wire.text(item, "status"),
        reason=str(item.get("billing_reason") or "")[:40],
        amount=wire.whole(item, "amount_due"),
        currency=wire.text(item, "currency").upper(),
        is_full=bool(full),
        price_ref=str(wire.part(line, "pricing", "price_details", "price") or ""),
        period_start=wire.whole(line.get("period") or {}, "start", 0),
        period_end=wire.whole(line.get("period") or {}, "end", 0),
        paid_at=wire.whole(item.get("status_transitions") or {}, "paid_at", 0),
        attempts=wire.whole(item, "attempt_count", 0),
    )


def _is_proration(line: Mapping[str, Any]) -> bool:
    parent = line.get("parent")
    kinds = [value for value in parent.values() if isinstance(value, Mapping)] if isinstance(parent, Mapping) else []
    return any(kind.get("proration") is True for kind in kinds)

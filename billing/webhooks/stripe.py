"""Stripe's events. None is believed: each one only makes us look."""

from __future__ import annotations

from typing import Any

from billing import gateways, reconcile, subscriptions
from billing.gateways.base import Gateway, Rejected
from billing.models import Payment
from inbox.deliveries import Outcome

# Both name a start, as the intent of a session does: by our reference in it.
_START_EVENTS = {
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
    "payment_intent.amount_capturable_updated",
    "payment_intent.canceled",
    "payment_intent.payment_failed",
    "payment_intent.processing",
    "payment_intent.succeeded",
}
_CHARGE_EVENTS = {"charge.refunded"}
_REFUND_EVENTS = {"refund.created", "refund.updated", "refund.failed", "charge.refund.updated"}
_DISPUTE_EVENTS = {
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
}


def handle(event: dict[str, Any], *, stale: bool) -> Outcome:
    """Find the payment that an event is about and look at it; how old the event is makes no difference to that.

    Idempotent: looking is.
    Raises: GatewayError, GatewayUnavailable; the delivery is tried again.
    """
    name = str(event.get("type", ""))
    gateway = gateways.get("stripe")
    try:
        if name in _START_EVENTS:
            return _outcome(_look_at_start(gateway, _named(event, "id")))
        if name in _CHARGE_EVENTS:
            return _outcome(_look_at_start(gateway, _named(event, "payment_intent")))
        ref = _named(event, "id")
        if name in _REFUND_EVENTS:
            return _outcome(reconcile.look_at_refund(gateway, gateway.fetch_refund(ref)) if ref else None)
        if name in _DISPUTE_EVENTS:
            return _outcome(reconcile.look_at_dispute(gateway, gateway.fetch_dispute(ref)) if ref else None)
        if name.startswith("customer.subscription."):
            found = subscriptions.look_at(ref, _named(event, "metadata", "subscription"))
            return Outcome.PROCESSED if found else Outcome.UNMATCHED
        if name.startswith("invoice."):
            found = subscriptions.look_at(_named(event, "parent", "subscription_details", "subscription"))
            return Outcome.PROCESSED if found else Outcome.UNMATCHED
    except Rejected as error:
        # Validly signed, yet Stripe does not know the object (any more): nothing to look at.
        if error.status in (400, 404):
            return Outcome.UNMATCHED
        raise
    return Outcome.IGNORED


def _look_at_start(gateway: Gateway, ref: str) -> Payment | None:
    return reconcile.look_at_start(gateway, ref) if ref else None


def _outcome(payment: Payment | None) -> Outcome:
    return Outcome.PROCESSED if payment else Outcome.UNMATCHED


def _named(event: dict[str, Any], *path: str) -> str:
    """A field of the object in the event, or nothing: the body is signed, its shape is still not ours to trust."""
    found: Any = event
    for name in ("data", "object", *path):
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, str) and found.isprintable() else ""

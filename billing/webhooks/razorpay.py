"""Razorpay's events. None is believed: each one only makes us look."""

from __future__ import annotations

from typing import Any

from billing import gateways, reconcile
from billing.gateways.base import Gateway, Rejected
from billing.models import Payment
from inbox.deliveries import Outcome

_PAYMENT_EVENTS = {
    "payment.authorized",
    "payment.captured",
    "payment.failed",
    "order.paid",
}
_REFUND_EVENTS = {"refund.created", "refund.processed", "refund.failed", "refund.speed_changed"}
_DISPUTE_EVENTS = {
    "payment.dispute.created",
    "payment.dispute.under_review",
    "payment.dispute.action_required",
    "payment.dispute.won",
    "payment.dispute.lost",
    "payment.dispute.closed",
}


def handle(event: dict[str, Any], *, stale: bool) -> Outcome:
    """Find the payment that an event is about and look at it; how old the event is makes no difference to that.

    Idempotent: looking is.
    Raises: GatewayError, GatewayUnavailable; the delivery is tried again.
    """
    name = str(event.get("event", ""))
    gateway = gateways.get("razorpay")
    try:
        if name in _PAYMENT_EVENTS:
            return _outcome(_look_at_payment(gateway, event))
        if name in _REFUND_EVENTS:
            ref = _named(event, "refund", "id")
            return _outcome(reconcile.look_at_refund(gateway, gateway.fetch_refund(ref)) if ref else None)
        if name in _DISPUTE_EVENTS:
            ref = _named(event, "dispute", "id")
            return _outcome(reconcile.look_at_dispute(gateway, gateway.fetch_dispute(ref)) if ref else None)
    except Rejected as error:
        # Validly signed, yet Razorpay does not know the object (any more): nothing to look at.
        if error.status in (400, 404):
            return Outcome.UNMATCHED
        raise
    return Outcome.IGNORED


def _look_at_payment(gateway: Gateway, event: dict[str, Any]) -> Payment | None:
    ref = _named(event, "payment", "order_id") or _named(event, "order", "id")
    return reconcile.look_at_start(gateway, ref) if ref else None


def _outcome(payment: Payment | None) -> Outcome:
    return Outcome.PROCESSED if payment else Outcome.UNMATCHED


def _named(event: dict[str, Any], entity: str, field: str) -> str:
    """A field of an entity in the payload, or nothing: the body is signed, its shape is still not ours to trust."""
    found: Any = event
    for name in ("payload", entity, "entity", field):
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, str) and found.isprintable() else ""

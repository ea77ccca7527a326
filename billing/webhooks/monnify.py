"""Monnify's events. None is believed: each one only makes us look. They carry no id and no time."""

from __future__ import annotations

from typing import Any

from billing import gateways, reconcile
from billing.gateways.base import Rejected
from billing.models import Payment
from inbox.deliveries import Outcome

_TRANSACTION_EVENTS = {"SUCCESSFUL_TRANSACTION", "REVERSED_TRANSACTION"}
_REFUND_EVENTS = {"SUCCESSFUL_REFUND", "FAILED_REFUND"}


def handle(event: dict[str, Any], *, stale: bool) -> Outcome:
    """Find the payment that an event is about and look at it.

    Idempotent: looking is.
    Raises: GatewayError, GatewayUnavailable; the delivery is tried again.
    """
    name = str(event.get("eventType", ""))
    gateway = gateways.get("monnify")
    try:
        if name in _TRANSACTION_EVENTS:
            ref = _named(event, "transactionReference")
            return _outcome(reconcile.look_at_start(gateway, ref) if ref else None)
        if name in _REFUND_EVENTS:
            ref = _named(event, "refundReference")
            return _outcome(reconcile.look_at_refund(gateway, gateway.fetch_refund(ref)) if ref else None)
    except Rejected as error:
        # Validly signed, yet Monnify does not know it (any more): nothing to look at.
        if 400 <= error.status < 500:
            return Outcome.UNMATCHED
        raise
    return Outcome.IGNORED


def _outcome(payment: Payment | None) -> Outcome:
    return Outcome.PROCESSED if payment else Outcome.UNMATCHED


def _named(event: dict[str, Any], field: str) -> str:
    """A field of the event's data, or nothing: the body is signed, its shape is still not ours to trust."""
    data = event.get("eventData")
    found = data.get(field) if isinstance(data, dict) else None
    return found if isinstance(found, str) and found.isprintable() else ""

"""One example of every mail, for the console and the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import audit
from core.ids import new_id
from notifications import outbox
from notifications.models import Mail
from notifications.rendering import Rendered, preview

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser

SAMPLES: dict[str, dict[str, Any]] = {
    "welcome": {"first_name": "Alice"},
    "verify-email": {"verification_id": "0193f7a2-c1d8-7b1c-9d3e-5f6071829304"},
    "confirm-email": {"change_id": "0193f7a2-c1d8-7b1c-9d3e-5f6071829305"},
    "email-changed": {"at": "2026-11-21T10:15+00:00"},
    "password-reset": {"reset_id": "0193f7a2-c1d8-7b1c-9d3e-5f6071829306"},
    "password-changed": {"at": "2026-11-21T10:15+00:00", "device": "Firefox on Windows", "ip": "192.0.2.9"},
    "payment-confirmation": {
        "payment_id": "0193f7a2-c1d8-7b1c-9d3e-5f6071829301",
        "amount": "₹499.00",
        "goods": "Basic, 100 credits",
        "currency": "INR",
        "date": "2026-11-21",
    },
    "payment-failed": {
        "payment_id": "0193f7a2-c1d8-7b1c-9d3e-5f6071829301",
        "amount": "₹499.00",
        "reason": "The bank declined the payment.",
    },
    "subscription-started": {
        "plan": "Pro",
        "amount": "$29.99",
        "credits": "500",
        "period_end": "2026-12-21",
    },
    "subscription-renewed": {
        "plan": "Pro",
        "amount": "$29.99",
        "credits": "500",
        "period_end": "2026-12-21",
    },
    "subscription-payment-failed": {"plan": "Pro", "amount": "$29.99"},
    "subscription-expiring": {"plan": "Pro", "days": "7", "period_end": "2026-12-21"},
    "subscription-canceled": {"plan": "Pro", "credits_lost": "120"},
    "mfa-changed": {"change": "reset", "reason": "Lost the phone."},
    "refund": {
        "payment_id": "0193f7a2-c1d8-7b1c-9d3e-5f6071829301",
        "refund_id": "0193f7a2-c1d8-7b1c-9d3e-5f6071829309",
        "amount": "₹499.00",
        "goods": "Basic, 100 credits",
        "way": "the way they came",
        "reason": "",
        "consequence": "100 credits were taken back for it.",
    },
    "dispute-opened": {
        "payment_id": "0193f7a2-c1d8-7b1c-9d3e-5f6071829301",
        "ref": "disp_Ex01",
        "gateway": "razorpay",
        "amount": "₹499.00",
        "reason": "goods not received",
        "respond_by": "2026-11-21",
        "link": "https://shop.example/admin/",
    },
    "headshot-generated": {"job_id": "0193f7a2-c1d8-7b1c-9d3e-5f6071829302", "credits_used": 50, "name": "Passport"},
    "headshot-failed": {
        "job_id": "0193f7a2-c1d8-7b1c-9d3e-5f6071829302",
        "reason": "The photo shows no face.",
        "credits_returned": 50,
    },
    "generation-completed": {
        "job_id": "0193f7a2-c1d8-7b1c-9d3e-5f6071829302",
        "kind": "video",
        "credits_used": 20,
        "name": "Paper boat",
    },
    "generation-failed": {
        "job_id": "0193f7a2-c1d8-7b1c-9d3e-5f6071829302",
        "kind": "picture",
        "reason": "The provider failed to make it.",
        "credits_returned": 8,
    },
    "order-confirmed": {
        "order_id": "0193f7a2-c1d8-7b1c-9d3e-5f6071829310",
        "items": "2 \u00d7 Juniper, 1 \u00d7 Pot",
        "amount": "\u20ac189.00",
    },
    "order-shipped": {
        "order_id": "0193f7a2-c1d8-7b1c-9d3e-5f6071829310",
        "items": "2 \u00d7 Juniper, 1 \u00d7 Pot",
        "tracking": "BR123456789",
    },
    "order-canceled": {
        "order_id": "0193f7a2-c1d8-7b1c-9d3e-5f6071829310",
        "items": "2 \u00d7 Juniper, 1 \u00d7 Pot",
        "amount": "\u20ac189.00",
        "reason": "It was not paid in time.",
        "refunded": "",
    },
    "call-summary": {
        "call_id": "0193f7a2-c1d8-7b1c-9d3e-5f6071829310",
        "recipient": "Dispatch",
        "duration": "1 min 5 s",
        "cost": "₦11.00",
        "date": "2026-11-21",
    },
    "export-ready": {"days": "7"},
    "account-deleted": {"first_name": "Alice"},
    "credit-low-warning": {"remaining": "12 credits"},
}


def show(name: str, *, language: str) -> Rendered:
    """The example as its reader would see it, its secrets left out."""
    return preview(Mail(name=name, context=SAMPLES[name]), language=language)


@audit.writes("mail")
def send(name: str, *, actor: AbstractBaseUser) -> Mail:
    """Queue the example for whoever asks, over the road that every mail takes.

    Enqueues: notifications.deliver
    """
    mail = outbox.enqueue(name, cause=f"sample:{new_id()}", context=SAMPLES[name], user=actor)
    assert mail is not None  # the cause is new, and staff are there
    audit.record("email.tried", mail, metadata={"name": name}, user=actor.pk, actor_id=actor.pk)
    return mail

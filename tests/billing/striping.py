"""Buying through Stripe as the product does it; the rest is in buying.py."""

from __future__ import annotations

import time
from typing import Any

from django.test import Client
from stripe import WebhookSignature

from accounts.models import User
from billing import payments
from billing.models import Package, Payment
from inbox import deliveries
from tests.sandbox.process import RunningSandbox


def start(user: User, item: str = "package:BASIC", **more: Any) -> Payment:
    """An open payment at Stripe, in dollars."""
    return payments.start(user=user, item=item, gateway="stripe", currency="USD", **more).payment


def ref_of(payment: Payment) -> str:
    ref = payment.starts.order_by("-n")[0].ref
    assert ref
    return ref


def pay(sandbox: RunningSandbox, payment: Payment, act: str = "pay", **form: Any) -> dict[str, Any]:
    """What the customer does on the checkout; what that hands to the client."""
    return sandbox.stripe_checkout(ref_of(payment), act, **form)


def bought(sandbox: RunningSandbox, user: User, item: str = "package:BASIC") -> Payment:
    """A settled payment."""
    payment = start(user, item)
    pay(sandbox, payment)
    return payments.refresh(payment)


def priced(amount: int, code: str = "TEST", credits: int = 100) -> str:
    """The item of a package at a price of the test's own, to reach the sandbox's magic amounts."""
    Package.objects.create(code=code, name="Test", credits=credits, amount=amount, currency="USD")
    return f"package:{code}"


def charge_of(payment: Payment) -> str:
    return payment.attempts.get(state="captured").ref


def logged(sandbox: RunningSandbox, event: str) -> list[bytes]:
    """The bodies of the webhooks that the sandbox would have sent, oldest first."""
    found = [row for row in sandbox.deliveries(provider="stripe") if row["event"] == event]
    return [row["body"].encode() for row in sorted(found, key=lambda row: row["created_at"])]


def sign(sandbox: RunningSandbox, body: bytes, at: int | None = None) -> str:
    """The header as Stripe's own SDK makes it."""
    secret = sandbox.keys["STRIPE_WEBHOOK_SECRET"]
    return WebhookSignature.generate_signature_header(body.decode(), secret, at or int(time.time()))


def deliver(sandbox: RunningSandbox, body: bytes, signature: str | None = None) -> int:
    """Post a webhook to our door, as Stripe does. Answers the status."""
    headers = {"stripe-signature": sign(sandbox, body) if signature is None else signature}
    if not headers["stripe-signature"]:
        headers = {}
    response = Client().post("/api/v1/webhooks/stripe", data=body, content_type="application/json", headers=headers)
    return response.status_code


def deliver_and_handle(sandbox: RunningSandbox, event: str) -> None:
    bodies = logged(sandbox, event)
    assert bodies
    for body in bodies:
        assert deliver(sandbox, body) == 200
    deliveries.handle_due()

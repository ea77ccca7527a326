"""Buying as the product does it: through payments.start, the sandbox's checkout and our own door for news."""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Callable
from typing import Any

from django.db import connections
from django.test import Client

from accounts.models import User
from billing import ledger, payments
from billing.models import Package, Payment
from inbox import deliveries
from tests.sandbox.process import RunningSandbox


def start(user: User, item: str = "package:BASIC", **more: Any) -> Payment:
    """An open payment at the gateway."""
    return payments.start(user=user, item=item, gateway="razorpay", **more).payment


def order_of(payment: Payment) -> str:
    ref = payment.starts.get().ref
    assert ref
    return ref


def pay(sandbox: RunningSandbox, payment: Payment, act: str = "pay", **form: Any) -> dict[str, Any]:
    """What the customer does on the gateway's checkout; what that hands to the client."""
    return sandbox.checkout(order_of(payment), act, **form)


def bought(sandbox: RunningSandbox, user: User, item: str = "package:BASIC") -> Payment:
    """A settled payment."""
    payment = start(user, item)
    pay(sandbox, payment)
    return payments.refresh(payment)


def priced(amount: int, code: str = "TEST", credits: int = 100) -> str:
    """The item of a package at a price of the test's own, to reach the sandbox's magic amounts."""
    Package.objects.create(code=code, name="Test", credits=credits, amount=amount, currency="INR")
    return f"package:{code}"


def available(user: User) -> int:
    return ledger.balance(user.pk).available


def fresh(payment: Payment) -> Payment:
    return Payment.objects.get(pk=payment.pk)


def logged(sandbox: RunningSandbox, event: str) -> list[bytes]:
    """The bodies of the webhooks that the sandbox would have sent, oldest first."""
    found = [row for row in sandbox.deliveries(provider="razorpay") if row["event"] == event]
    return [row["body"].encode() for row in sorted(found, key=lambda row: row["created_at"])]


def sign(sandbox: RunningSandbox, body: bytes) -> str:
    return hmac.new(sandbox.keys["RAZORPAY_WEBHOOK_SECRET"].encode(), body, hashlib.sha256).hexdigest()


def deliver(sandbox: RunningSandbox, body: bytes, signature: str | None = None) -> int:
    """Post a webhook to our door, as Razorpay does. Answers the status."""
    response = Client().post(
        "/api/v1/webhooks/razorpay",
        data=body,
        content_type="application/json",
        headers={"x-razorpay-signature": sign(sandbox, body) if signature is None else signature},
    )
    return response.status_code


def deliver_and_handle(sandbox: RunningSandbox, event: str) -> None:
    for body in logged(sandbox, event):
        assert deliver(sandbox, body) == 200
    deliveries.handle_due()


def together(*acts: Callable[[], Any]) -> list[Any]:
    """Run all at once, each in its own thread and connection; answers or exceptions in order."""
    results: list[Any] = [None] * len(acts)
    ready = threading.Barrier(len(acts))

    def run(n: int) -> None:
        ready.wait()
        try:
            results[n] = acts[n]()
        except Exception as error:
            results[n] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return results

"""Delivering what a payment bought. Each kind of goods has its function in settings.BILLING_FULFILMENT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings
from django.utils.module_loading import import_string

from accounts.models import User, UserStatus
from billing import ledger
from billing.models import Payment


@dataclass(frozen=True, slots=True)
class Fulfilled:
    """Delivered. `credits`: how many credits now stand for the money."""

    credits: int = 0


@dataclass(frozen=True, slots=True)
class Refused:
    """It cannot be delivered any more (the order is gone, the person left): the money goes back in full."""

    reason: str


Deliver = Callable[..., Fulfilled | Refused]


def deliver(payment: Payment) -> Fulfilled | Refused:
    """Hand over the goods inside the settling transaction. Touches only the database.

    Idempotent: the deliverer posts under the payment's own key.
    """
    function: Deliver = import_string(settings.BILLING_FULFILMENT[payment.fulfils])
    return function(payment=payment)


def credits(*, payment: Payment) -> Fulfilled | Refused:
    """Grant the credits of a package, or of a custom number.

    Idempotent: key `payment:<id>:grant`.
    """
    status = User.objects.values_list("status", flat=True).get(pk=payment.user_id)
    if status in (UserStatus.DELETING, UserStatus.DELETED):
        return Refused("the account was closed before the payment arrived")
    ledger.grant(
        user_id=payment.user_id,
        amount=payment.credits,
        category="paid",
        key=f"payment:{payment.pk}:grant",
        kind="purchase",
        subject=("payment", payment.pk),
        house="issued",
        memo=payment.title,
    )
    return Fulfilled(credits=payment.credits)

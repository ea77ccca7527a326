"""Delivering what a payment bought. Each kind of goods has its function in settings.BILLING_FULFILMENT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.utils.module_loading import import_string

from accounts.models import UserStatus
from billing import ledger
from billing.models import HouseKind, Payment


@dataclass(frozen=True, slots=True)
class Fulfilled:
    """Delivered. `granted`: how much now stands for the money on the wallet that the payment fills."""

    granted: int = 0


@dataclass(frozen=True, slots=True)
class Refused:
    """It cannot be delivered any more (the order is gone, the person left): the money goes back in full."""

    reason: str


Deliver = Callable[..., Fulfilled | Refused]


def deliver(payment: Payment) -> Fulfilled | Refused:
    """Hand over the goods inside the settling transaction. Touches only the database.

    Idempotent: the deliverer posts under the payment's own key.
    Locks: the user, shared: whoever begins to be erased meanwhile waits, and then loses what was delivered.
    """
    if _has_left(payment.user_id):
        return Refused("the account was closed before the payment arrived")
    function: Deliver = import_string(settings.BILLING_FULFILMENT[payment.fulfils])
    return function(payment=payment)


def _has_left(user_id: UUID) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT status FROM accounts_user WHERE id = %s FOR SHARE", [user_id])
        [status] = cursor.fetchone()
    return status in (UserStatus.DELETING, UserStatus.DELETED)


def credits(*, payment: Payment) -> Fulfilled | Refused:
    """Grant the credits of a package, or of a custom number.

    Idempotent: key `payment:<id>:grant`.
    """
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
    return Fulfilled(granted=payment.credits)


def top_up(*, payment: Payment) -> Fulfilled | Refused:
    """Fill a wallet of money with the price that was paid.

    Idempotent: key `payment:<id>:grant`.
    """
    ledger.grant(
        user_id=payment.user_id,
        amount=payment.amount,
        category=None,
        key=f"payment:{payment.pk}:grant",
        kind="purchase",
        subject=("payment", payment.pk),
        house=HouseKind.SALES,
        unit=payment.currency,
        wallet_kind=payment.wallet_kind,
        memo=payment.title,
    )
    return Fulfilled(granted=payment.amount)

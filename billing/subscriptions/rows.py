"""What every change to a subscription shares: its lock, its state, its letters."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from django.db.models import QuerySet

from accounts.models import UserStatus
from billing.models import Subscription, SubscriptionState
from billing.models.subscriptions import SUBSCRIPTION_TRANSITIONS
from core.money import display
from notifications import outbox

__all__ = ["day", "display", "has_ended", "lock", "may_become", "moment", "tell"]


def lock(subscription_id: uuid.UUID) -> Subscription:
    """The subscription's row, locked until the transaction ends; after its payment, before wallets."""
    rows: QuerySet[Subscription] = Subscription.objects.select_for_update(of=("self",), no_key=True)
    return rows.select_related("plan", "next_plan", "user").get(pk=subscription_id)


def may_become(row: Subscription, state: str) -> bool:
    return state in SUBSCRIPTION_TRANSITIONS[row.state]


def moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def tell(row: Subscription, name: str, *, cause: str, **context: Any) -> None:
    """Write to the subscriber, unless they have left.

    Idempotent: by cause. Enqueues: subscription-started, -renewed, -payment-failed, -expiring, -canceled
    """
    if row.user.status == UserStatus.DELETED:
        return
    outbox.enqueue(
        name, user=row.user, cause=f"subscription:{row.pk}:{cause}", context={"plan": row.plan.name, **context}
    )


def day(at: datetime | None) -> str:
    return at.date().isoformat() if at else ""


def has_ended(row: Subscription) -> bool:
    return row.state in (SubscriptionState.CANCELED, SubscriptionState.EXPIRED)

"""Ending a subscription with its period or at once, and thinking better of it."""

from __future__ import annotations

from django.db import transaction
from django.db.models.functions import Now

import audit
from billing import gateways, payments
from billing.errors import SubscriptionEnded
from billing.gateways import stripe_subscriptions as stripe
from billing.gateways.base import GatewayError
from billing.models import Subscription, SubscriptionState
from billing.subscriptions import rows
from billing.subscriptions.opening import GATEWAY
from billing.subscriptions.refreshing import refresh
from core.killpoints import reach


@audit.writes("subscription")
def cancel(subscription: Subscription, *, at_once: bool = False) -> Subscription:
    """End it with the period; or now, and then the rest of its credits goes. One that nobody has paid ends now.

    Idempotent: by state. Raises: GatewayUnavailable, BadGateway.
    """
    row = Subscription.objects.get(pk=subscription.pk)
    if rows.has_ended(row):
        return row
    gateways.get(GATEWAY)
    if at_once or row.state == SubscriptionState.INCOMPLETE:
        with transaction.atomic():
            locked = rows.lock(row.pk)
            if not locked.ends_now and locked.is_live:
                # Should we die before the gateway knows, the poller finishes it.
                locked.ends_now = True
                locked.save(update_fields=["ends_now", "updated_at"])
                Subscription.objects.filter(pk=row.pk).update(next_check_at=Now())
                audit.record("subscription.end_asked", locked, new={"at_once": True}, user=locked.user_id)
        reach("subscriptions.end.committed")
        return _seen(row)
    return _with_period(row, wanted=True)


@audit.writes("subscription")
def reactivate(subscription: Subscription) -> Subscription:
    """Let one that was to end with its period go on.

    Idempotent: by state. Raises: SubscriptionEnded, GatewayUnavailable, BadGateway.
    """
    row = Subscription.objects.get(pk=subscription.pk)
    if rows.has_ended(row) or row.ends_now or row.state == SubscriptionState.INCOMPLETE:
        raise SubscriptionEnded
    gateways.get(GATEWAY)
    return _with_period(row, wanted=False)


def _with_period(row: Subscription, *, wanted: bool) -> Subscription:
    audit.record(
        "subscription.end_asked" if wanted else "subscription.reactivation_asked",
        row,
        old={"cancel_at_period_end": row.cancel_at_period_end},
        new={"cancel_at_period_end": wanted},
        user=row.user_id,
    )
    try:
        stripe.end_with_period(ref=str(row.ref), wanted=wanted)
    except GatewayError as error:
        raise payments.for_client(error, unclear="none", unreached="none") from error
    return _seen(row)


def _seen(row: Subscription) -> Subscription:
    try:
        return refresh(row)
    except GatewayError as error:
        raise payments.for_client(error, unclear="none", unreached="none") from error

"""An upgrade that was asked for, until it is charged or refused; whoever died over it, the poller carries on."""

from __future__ import annotations

from datetime import timedelta

import structlog
from django.db import transaction
from django.db.models.functions import Now

import audit
from billing import plans
from billing.errors import PaymentDeclined
from billing.gateways import stripe_subscriptions as stripe
from billing.gateways.base import GatewayError, Rejected, Repeated
from billing.models import Subscription, SubscriptionChange, SubscriptionState
from billing.subscriptions import rows
from core.errors import BadGateway
from core.killpoints import reach

log = structlog.get_logger("subscriptions")

REQUESTED, REFUSED = SubscriptionChange.State.REQUESTED, SubscriptionChange.State.REFUSED
# Whoever asked may still be at it: a call to the gateway is cut off long before.
LEFT_ALONE = timedelta(minutes=2)
# Within the day that the gateway keeps an idempotency key, asking again cannot charge twice; with time to spare.
REPEATABLE = timedelta(hours=23)
TOO_LATE = "It was not charged in time, and is not charged any more."


def pay_for(asked: SubscriptionChange) -> None:
    """Let the gateway charge for an upgrade. Idempotent: by the change.

    Raises: PaymentDeclined, BadGateway; then nothing has changed. Other GatewayErrors leave it open.
    """
    row = asked.subscription
    if asked.state == REFUSED:
        raise PaymentDeclined(f"The card on file was not charged: {asked.error_message}")
    if asked.state != REQUESTED:
        return
    try:
        _charge(asked)
    except Rejected as error:
        if error.status == 402:
            raise PaymentDeclined(f"The card on file was not charged: {error}") from error
        raise BadGateway(f"{row.gateway} refused this change: {error}") from error


def carry_on(row: Subscription, fact: stripe.SubscriptionFact) -> bool:
    """Charge for what is still wanted and may be asked again, refuse the rest. Returns whether the gateway was told.

    Call it when its paid invoices are settled: what is then still open was not charged, or has not been asked for.
    Idempotent: by the change.
    """
    is_told = False
    open_ones = SubscriptionChange.objects.filter(subscription=row, state=REQUESTED)
    for asked in open_ones.filter(created_at__lt=Now() - LEFT_ALONE).select_related("subscription", "new_plan"):
        is_young = open_ones.filter(pk=asked.pk, created_at__gt=Now() - REPEATABLE).exists()
        is_wanted = (
            row.state == SubscriptionState.ACTIVE
            and not row.cancel_at_period_end
            and (row.plan_id, row.period_start) == (asked.old_plan_id, asked.period_start)
        )
        if is_young and is_wanted:
            is_told = _is_charged(asked) or is_told
        elif fact.price_ref != asked.new_plan.price_ref or not is_wanted:
            _refuse(asked, TOO_LATE)
    return is_told


def _is_charged(asked: SubscriptionChange) -> bool:
    try:
        _charge(asked)
    except Rejected:
        return False
    except GatewayError as error:
        log.warning("upgrade_not_carried_on", change=str(asked.pk), error=str(error))
        return False
    return True


def is_open(row: Subscription) -> bool:
    return SubscriptionChange.objects.filter(subscription=row, state=REQUESTED).exists()


def _charge(asked: SubscriptionChange) -> None:
    """Raises: Rejected, then it is refused; other GatewayErrors leave it open."""
    row = asked.subscription
    try:
        stripe.upgrade(
            ref=str(row.ref),
            item_ref=row.item_ref,
            price_ref=plans.price_of(asked.new_plan),
            asked_at=int(asked.asked_at.timestamp()),
            key=f"change:{asked.pk}",
        )
    except Repeated as error:
        # What was asked under this key before may have been charged.
        raise GatewayError(str(error)) from error
    except Rejected as error:
        _refuse(asked, str(error))
        raise
    reach("subscriptions.upgrade.answered")


@audit.writes("subscription")
def _refuse(asked: SubscriptionChange, why: str) -> None:
    with transaction.atomic():
        row = rows.lock(asked.subscription_id)
        done = SubscriptionChange.objects.filter(pk=asked.pk, state=REQUESTED).update(
            state=REFUSED, error_message=why[:500]
        )
        if done:
            audit.record(
                "subscription.upgrade_refused",
                row,
                new={"plan": str(asked.new_plan), "error": why[:200]},
                user=row.user_id,
            )

"""Another plan: a dearer one at once, for the rest of the period; a cheaper one from the next period on."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.db.models.functions import Least, Now
from django.utils import timezone

import audit
from billing import gateways, payments, plans, sales
from billing.errors import SubscriptionNotActive
from billing.gateways import stripe_subscriptions as stripe
from billing.gateways.base import GatewayError
from billing.models import Interval, Plan, Subscription, SubscriptionChange, SubscriptionInvoice, SubscriptionState
from billing.subscriptions import goods, rows, upgrades
from billing.subscriptions.opening import GATEWAY
from billing.subscriptions.refreshing import refresh
from core.idempotency import Claim
from core.killpoints import reach


def change(*, subscription: Subscription, plan: str, claim: Claim | None = None) -> Subscription:
    """Move an active subscription to another plan of the same interval.

    Idempotent: by state; a claim resumes the upgrade that it was bound to.
    Raises: SalesStopped for a new upgrade, Invalid, SubscriptionNotActive, PaymentDeclined, GatewayUnavailable,
        BadGateway.
    """
    gateways.get(GATEWAY)
    row = Subscription.objects.select_related("plan", "next_plan").get(pk=subscription.pk)
    try:
        if claim and claim.subject_id:
            upgrades.pay_for(SubscriptionChange.objects.get(pk=claim.subject_id, subscription=row))
            return refresh(row)
        if row.state != SubscriptionState.ACTIVE or row.cancel_at_period_end or not row.ref:
            raise SubscriptionNotActive
        wanted = _edition(row, plan)
        if wanted.amount > row.plan.amount:
            sales.insist()
            if row.next_plan is not None:
                _later(row, row.plan)  # else the upgrade would be charged against the cheaper plan that was to come
            asked = _ask(row, wanted, claim)
            reach("subscriptions.upgrade.committed")
            upgrades.pay_for(asked)
        elif wanted != row.plan or row.next_plan is not None:
            _later(row, wanted)
        return refresh(row)
    except GatewayError as error:
        raise payments.for_client(error, unclear="unknown", unreached="none") from error


def _edition(row: Subscription, code: str) -> Plan:
    """The plan of that code: as the person has it or has asked for it, whatever it costs others by now."""
    kept = [plan for plan in (row.plan, row.next_plan) if plan is not None and plan.code == code.lower()]
    return kept[0] if kept else plans.named(code, row.plan.interval)


def _later(row: Subscription, wanted: Plan) -> None:
    """Set the next period's plan. Idempotent: by state at the gateway."""
    stripe.change_later(ref=str(row.ref), item_ref=row.item_ref, price_ref=plans.price_of(wanted))


@audit.writes("subscription")
def _ask(row: Subscription, wanted: Plan, claim: Claim | None) -> SubscriptionChange:
    """Write the upgrade down with what it gives: the difference for the time that is left."""
    plans.price_of(wanted)
    with transaction.atomic():
        locked = rows.lock(row.pk)
        if locked.state != SubscriptionState.ACTIVE or locked.period_start is None:
            raise SubscriptionNotActive
        start, end = _current(locked)
        now = timezone.now().replace(microsecond=0)
        left = max(0.0, min((end - now).total_seconds(), (end - start).total_seconds()))
        credits = int((wanted.credits - locked.plan.credits) * int(left) // max(1, int((end - start).total_seconds())))
        fresh = SubscriptionChange(
            subscription=locked,
            old_plan=locked.plan,
            new_plan=wanted,
            period_start=locked.period_start,
            asked_at=now,
            credits=max(0, credits),
        )
        SubscriptionChange.objects.bulk_create([fresh], ignore_conflicts=True)
        asked = SubscriptionChange.objects.exclude(state=SubscriptionChange.State.REFUSED).get(
            subscription=locked, new_plan=wanted, period_start=locked.period_start
        )
        audit.record(
            "subscription.upgrade_asked",
            locked,
            new={"plan": str(wanted), "credits": asked.credits},
            user=locked.user_id,
        )
        # Whoever dies over it leaves it to the poller, which looks soon.
        soon = Least("next_check_at", Now() + upgrades.LEFT_ALONE)
        Subscription.objects.filter(pk=locked.pk).update(next_check_at=soon)
        if claim:
            claim.bind(asked.pk)
    return asked


def _current(row: Subscription) -> tuple[datetime, datetime]:
    """The time that the credits in hand are for: the month of a year, else the period."""
    assert row.period_start is not None and row.period_end is not None  # noqa: PT018
    if row.plan.interval == Interval.YEAR:
        year = SubscriptionInvoice.objects.filter(subscription=row, months__gt=0).order_by("-pk").first()
        if year is not None and year.period_start is not None:
            return goods.add_months(year.period_start, year.months - 1), goods.add_months(
                year.period_start, year.months
            )
    return row.period_start, row.period_end

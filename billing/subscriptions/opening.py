"""Beginning a subscription, and the gateway's portal."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

import audit
from billing import gateways, payments, plans, sales
from billing.errors import NoSubscription, SubscriptionExists
from billing.gateways import stripe_subscriptions as stripe
from billing.gateways.base import GatewayError, Rejected
from billing.models import GatewayCustomer, Plan, Subscription, SubscriptionState
from billing.models.subscriptions import LIVE
from billing.subscriptions import rows
from core.errors import BadGateway
from core.idempotency import Claim
from core.killpoints import reach

GATEWAY = "stripe"
FIRST_CHECK = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Started:
    subscription: Subscription
    is_new: bool


@audit.writes("subscription")
def start(*, user: Any, plan: str, interval: str, claim: Claim | None = None) -> Started:
    """Begin a subscription: our row first, then the gateway's. The client then pays the first invoice.

    Idempotent: a claim resumes what it was bound to; one live subscription a person.
    Raises: SalesStopped, Invalid, SubscriptionExists, GatewayUnavailable, BadGateway.
    """
    gateways.get(GATEWAY)
    if claim and claim.subject_id:
        return Started(_open(Subscription.objects.get(pk=claim.subject_id, user=user)), is_new=True)
    sales.insist()
    wanted = plans.named(plan, interval)
    with transaction.atomic():
        row = Subscription(user=user, plan=wanted, gateway=GATEWAY, next_check_at=Now() + FIRST_CHECK)
        Subscription.objects.bulk_create([row], ignore_conflicts=True)
        stored = Subscription.objects.filter(pk=row.pk).first()
        if stored is None:
            raise SubscriptionExists
        audit.record(
            "subscription.created",
            stored,
            new={"plan": str(wanted), "amount": wanted.amount, "currency": wanted.currency},
            user=user.pk,
        )
        if claim:
            claim.bind(stored.pk)
    reach("subscriptions.start.committed")
    return Started(_open(stored), is_new=True)


def _open(row: Subscription) -> Subscription:
    """Tell the gateway, unless that is done.

    Raises: SalesStopped, GatewayUnavailable, BadGateway.
    """
    if row.ref or not row.is_live:
        return row
    sales.insist()
    plan: Plan = row.plan
    try:
        fact = stripe.begin(subscription_id=row.pk, customer_ref=customer_of(row.user), price_ref=plans.price_of(plan))
    except Rejected as error:
        _reject(row.pk, error)
        raise BadGateway(f"{row.gateway} refused to begin this subscription: {error}") from error
    except GatewayError as error:
        raise payments.for_client(error, unclear="unknown", unreached="none") from error
    reach("subscriptions.start.answered")
    return tie(row.pk, fact)


@audit.writes("subscription")
def tie(subscription_id: uuid.UUID, fact: stripe.SubscriptionFact) -> Subscription:
    """Note the gateway's id of a subscription. Idempotent: the first stays."""
    with transaction.atomic():
        row = rows.lock(subscription_id)
        if row.ref is None:
            row.ref, row.item_ref, row.secret = fact.ref, fact.item_ref, fact.secret
            row.save(update_fields=["ref", "item_ref", "secret", "updated_at"])
            audit.record("subscription.tied", row, new={"ref": fact.ref}, user=row.user_id)
    return row


def _reject(subscription_id: uuid.UUID, error: Rejected) -> None:
    with transaction.atomic():
        row = rows.lock(subscription_id)
        if row.ref is None and rows.may_become(row, SubscriptionState.EXPIRED):
            row.state, row.next_check_at = SubscriptionState.EXPIRED, None
            row.save(update_fields=["state", "next_check_at", "updated_at"])
            audit.record("subscription.refused", row, new={"error": str(error)[:200]}, user=row.user_id)


@audit.writes("subscription")
def customer_of(user: Any) -> str:
    """The person's customer id at the gateway, made there if need be. Not inside a transaction.

    Idempotent: one a person. Raises: GatewayError.
    """
    known = GatewayCustomer.objects.filter(user=user, gateway=GATEWAY).first()
    if known is None:
        ref = stripe.ensure_customer(user_id=user.pk, email=user.email)
        made = GatewayCustomer(user=user, gateway=GATEWAY, ref=ref)
        with transaction.atomic():
            audit.record("gateway_customer.created", ("user", user.pk), new={"ref": ref}, user=user.pk)
            GatewayCustomer.objects.bulk_create([made], ignore_conflicts=True)
        known = GatewayCustomer.objects.get(user=user, gateway=GATEWAY)
    return known.ref


def open_portal(*, user: Any, return_url: str) -> str:
    """A link to the gateway's own pages for cards and invoices.

    Raises: Invalid, NoSubscription, GatewayUnavailable, BadGateway.
    """
    payments.check_return_url(return_url)
    gateways.get(GATEWAY)
    known = GatewayCustomer.objects.filter(user=user, gateway=GATEWAY).first()
    if known is None:
        raise NoSubscription
    try:
        return stripe.portal(customer_ref=known.ref, return_url=return_url)
    except GatewayError as error:
        raise payments.for_client(error, unclear="none", unreached="none") from error


def live_of(user: Any) -> Subscription | None:
    """The one that is not over."""
    return Subscription.objects.filter(user=user, state__in=LIVE).select_related("plan", "next_plan").first()

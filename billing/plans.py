"""The plans that are sold, and what a person's plan allows."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from django.db.models import QuerySet

import audit
from billing.gateways import stripe_subscriptions as stripe
from billing.models import Plan, Subscription
from billing.models.subscriptions import ENTITLED
from core.errors import Invalid, detail

NO_PLAN_AVATARS = 1


def shown() -> Sequence[Plan]:
    """What is for sale, the cheapest first."""
    return list(_sold().order_by("interval", "position", "amount"))


def named(code: str, interval: str) -> Plan:
    """A plan that is for sale.

    Raises: Invalid.
    """
    found = _sold().filter(code=code.lower(), interval=interval).first()
    if found is None:
        message = f"There is no plan {code!r} by the {interval}."
        raise Invalid(message, details=[detail("unknown_plan", message, "plan")])
    return found


def _sold() -> QuerySet[Plan]:
    sold: QuerySet[Plan] = Plan.objects.filter(is_for_sale=True, retired_at=None)
    return sold


def avatar_limit(user_id: uuid.UUID) -> int:
    """How many avatars the person may have: their plan's number until the gateway gives up, else one."""
    limits = Subscription.objects.filter(user_id=user_id, state__in=ENTITLED).values_list(
        "plan__max_avatars", flat=True
    )
    return limits.first() or NO_PLAN_AVATARS


def code_of(user_id: uuid.UUID) -> str | None:
    """The plan that the person has now, until the gateway gives up."""
    codes = Subscription.objects.filter(user_id=user_id, state__in=ENTITLED).values_list("plan__code", flat=True)
    return codes.first()


def price_of(plan: Plan) -> str:
    """The gateway's price of a plan, made there if need be. Not inside a transaction.

    Idempotent: by the lookup key. Raises: GatewayError.
    """
    return plan.price_ref or sync(plan)


@audit.writes("plan")
def sync(plan: Plan) -> str:
    """Carry a plan to the gateway. Another amount is another price; subscriptions on the old one keep it.

    Idempotent: by the lookup key. Raises: GatewayError.
    """
    ref = stripe.ensure_price(
        lookup_key=plan.lookup_key,
        name=f"{plan.name} ({plan.interval}ly)",
        amount=plan.amount,
        currency=plan.currency,
        interval=plan.interval,
    )
    if ref != plan.price_ref:
        audit.record("plan.synced", ("plan", plan.pk), old={"price": plan.price_ref}, new={"price": ref})
        Plan.objects.filter(pk=plan.pk).update(price_ref=ref)
        plan.price_ref = ref
    return ref

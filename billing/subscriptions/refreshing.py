"""The one door: what the gateway says of a subscription, its paid invoices settled first."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import structlog
from django.db import connection, transaction
from django.db.models import Q, QuerySet, Value
from django.db.models.functions import Greatest, Now
from django.utils import timezone

import audit
from billing import gateways, looks, payments
from billing.errors import GatewayUnavailable
from billing.gateways import stripe_subscriptions as stripe
from billing.gateways.base import GatewayError
from billing.models import (
    GatewayCustomer,
    Payment,
    PaymentStart,
    PaymentState,
    Plan,
    Subscription,
    SubscriptionChange,
    SubscriptionInvoice,
    SubscriptionState,
)
from billing.models.subscriptions import ENTITLED, LIVE
from billing.subscriptions import goods, rows, upgrades
from billing.subscriptions.opening import GATEWAY, tie
from core import jobs
from core.killpoints import reach

log = structlog.get_logger("subscriptions")

Invoices = Sequence[stripe.InvoiceFact]
PERIODIC = ("subscription_create", "subscription_cycle")
WAITING = ("draft", "open")
AGAIN = timedelta(hours=1)
SOON = timedelta(minutes=5)
UNTOLD_FOR = timedelta(hours=24)  # as long as the gateway keeps an idempotency key
BATCH = 20
EXPIRING_DAYS = (7, 1)


def refresh(row: Subscription) -> Subscription:
    """Ask the gateway, settle what was paid, end what should have ended, bring our row up to it, and carry on with an
    upgrade that somebody died over.

    Idempotent: by what is already noted. Raises: GatewayError, GatewayUnavailable.
    """
    gateways.get(GATEWAY)
    ref = row.ref or _find(row)
    if not ref:
        return Subscription.objects.get(pk=row.pk)
    seen, fact, invoices = _catch_up(row.pk, ref)
    if not fact.has_ended and (seen.ends_now or rows.has_ended(seen)):
        # It lives there and not here: asked to end, given up, or paid for after that.
        stripe.end(ref)
        reach("subscriptions.end.answered")
        seen, fact, invoices = _catch_up(row.pk, ref)
    if upgrades.carry_on(seen, fact):
        seen, fact, invoices = _catch_up(row.pk, ref)
    _tell_failed(seen, invoices)
    _schedule(seen, invoices)
    return Subscription.objects.get(pk=row.pk)


def _catch_up(subscription_id: uuid.UUID, ref: str) -> tuple[Subscription, stripe.SubscriptionFact, Invoices]:
    """One look: what was paid is settled before our row is brought up to it."""
    n = looks.begin()
    fact, invoices = stripe.fetch(ref)
    for invoice in invoices:
        payment = take(subscription_id, invoice)
        if payment is not None and not payment.is_paid:
            reach("subscriptions.invoice.taken")
            payments.refresh(payment)
    reach("subscriptions.invoices.settled")
    return _apply(subscription_id, fact, n), fact, invoices


def _find(row: Subscription) -> str:
    """The gateway's id of one whose answer we never read; given up after a day."""
    known = GatewayCustomer.objects.filter(user_id=row.user_id, gateway=GATEWAY).first()
    fact = stripe.find(subscription_id=row.pk, customer_ref=known.ref) if known else None
    if fact is not None:
        tie(row.pk, fact)
        return fact.ref
    with transaction.atomic():
        locked = rows.lock(row.pk)
        is_old = Subscription.objects.filter(pk=row.pk, created_at__lt=Now() - UNTOLD_FOR).exists()
        if (is_old or locked.ends_now) and rows.may_become(locked, SubscriptionState.CANCELED):
            _end(locked, SubscriptionState.CANCELED if locked.ends_now else SubscriptionState.EXPIRED)
            locked.save()
    return ""


@audit.writes("subscription")
def take(subscription_id: uuid.UUID, fact: stripe.InvoiceFact) -> Payment | None:
    """Note an invoice; a paid one becomes a payment, which is settled like any other.

    Idempotent: by the invoice's id. Locks: the subscription.
    """
    with transaction.atomic():
        row = rows.lock(subscription_id)
        invoice = SubscriptionInvoice.objects.filter(ref=fact.ref).select_related("payment").first()
        if invoice is None:
            invoice = SubscriptionInvoice(
                subscription=row, ref=fact.ref, reason=fact.reason, amount=fact.amount, currency=fact.currency
            )
        if invoice.payment is not None:
            return invoice.payment
        is_payable = fact.status == "paid" and fact.amount > 0
        if (invoice.status, invoice.amount) == (fact.status, fact.amount) and not is_payable:
            return None
        old = invoice.status
        invoice.status, invoice.amount = fact.status, fact.amount
        invoice.plan = _plan_of(row, fact)
        if fact.period_start and fact.period_end:
            invoice.period_start, invoice.period_end = rows.moment(fact.period_start), rows.moment(fact.period_end)
        invoice.paid_at = rows.moment(fact.paid_at) if fact.paid_at else None
        if fact.reason == "subscription_update" and not fact.is_full:
            invoice.change = _change_of(row, invoice)
        if is_payable:
            invoice.payment = _payment(row, invoice, fact)
        invoice.save()
        if invoice.change is not None and fact.status == "paid" and not fact.amount:
            goods.raise_plan(row, invoice.change, credits=0)  # a period's last seconds cost nothing, and give it
        if old != fact.status:
            audit.record(
                "subscription.invoiced",
                row,
                old={"status": old},
                new={"status": fact.status, "invoice": fact.ref, "amount": fact.amount, "reason": fact.reason},
                user=row.user_id,
            )
        return invoice.payment


def _change_of(row: Subscription, invoice: SubscriptionInvoice) -> SubscriptionChange | None:
    """The upgrade that an invoice charges for: the open one, or one of this period that we had given up; money came."""
    asked = SubscriptionChange.objects.filter(subscription=row, new_plan=invoice.plan).order_by("pk").last()
    if asked is None or asked.state == SubscriptionChange.State.APPLIED:
        return None
    is_open = asked.state == SubscriptionChange.State.REQUESTED
    return asked if is_open or asked.period_start == row.period_start else None


def _plan_of(row: Subscription, fact: stripe.InvoiceFact) -> Plan:
    """By the price on its line; a price that we have replaced since means what the subscription has."""
    return Plan.objects.filter(price_ref=fact.price_ref).first() or row.next_plan or row.plan


def _payment(row: Subscription, invoice: SubscriptionInvoice, fact: stripe.InvoiceFact) -> Payment:
    plan = invoice.plan or row.plan
    credits = plan.credits if fact.reason in PERIODIC and fact.is_full else 0
    if invoice.change is not None:
        credits = invoice.change.credits
    payment: Payment = Payment.objects.create(
        user_id=row.user_id,
        item=f"subscription:{plan.code}:{fact.ref}"[:80],
        fulfils="subscription",
        title=f"{plan.name} plan",
        credits=credits,
        gateway=row.gateway,
        amount=fact.amount,
        currency=fact.currency,
        state=PaymentState.PENDING,
        expires_at=Now() + AGAIN,
        next_at=Now() + payments.FIRST_LOOK,
    )
    PaymentStart.objects.create(
        payment=payment,
        n=1,
        gateway=row.gateway,
        reference=fact.ref,
        ref=fact.ref,
        amount=fact.amount,
        currency=fact.currency,
    )
    audit.record(
        "payment.created",
        payment,
        new={"item": payment.item, "gateway": row.gateway, "amount": fact.amount, "currency": fact.currency},
        metadata={"subscription": row.pk},
        user=row.user_id,
    )
    return Payment.objects.get(pk=payment.pk)


def _apply(subscription_id: uuid.UUID, fact: stripe.SubscriptionFact, look: int) -> Subscription:
    """Bring our row up to the gateway's. What has ended here stays ended; what a later look has shown stays too.

    Idempotent: by state. Locks: the subscription, then the wallet.
    """
    with transaction.atomic():
        row = rows.lock(subscription_id)
        if not rows.has_ended(row) and look >= row.look_applied:
            row.look_applied = look
            Subscription.objects.filter(pk=row.pk).update(look_applied=look)
            _bring_up(row, fact)
    return row


@audit.writes("subscription")
def _bring_up(row: Subscription, fact: stripe.SubscriptionFact) -> None:
    old = _told(row)
    row.item_ref, row.secret = fact.item_ref, fact.secret if fact.state == "incomplete" else ""
    row.period_start, row.period_end = rows.moment(fact.period_start), rows.moment(fact.period_end)
    row.cancel_at_period_end = fact.cancel_at_period_end
    if not SubscriptionChange.objects.filter(subscription=row, state="requested").exists():
        coming = Plan.objects.filter(price_ref=fact.price_ref).first()
        row.next_plan = coming if coming and coming.pk != row.plan_id else None
    if fact.state != row.state and rows.may_become(row, fact.state):
        if fact.state in LIVE:
            row.state = fact.state
        else:
            _end(row, fact.state)
    if old != _told(row):
        row.save()
        audit.record("subscription.updated", row, old=old, new=_told(row), user=row.user_id)


def _told(row: Subscription) -> dict[str, Any]:
    return {
        "state": row.state,
        "item": row.item_ref,
        "is_payable": bool(row.secret),
        "period_start": row.period_start,
        "period_end": row.period_end,
        "cancel_at_period_end": row.cancel_at_period_end,
        "next_plan": str(row.next_plan or ""),
    }


def _end(row: Subscription, state: str) -> None:
    """End a locked subscription; asked to end at once, the rest of its credits goes too."""
    row.state, row.ended_at, row.next_plan, row.secret = state, timezone.now(), None, ""
    was_paid = row.invoices.filter(payment__isnull=False).exists()
    if row.ends_now:
        row.credits_lost = goods.end_all(row)
    if was_paid:
        rows.tell(row, "subscription-canceled", cause="canceled", credits_lost=f"{row.credits_lost:,}")
    audit.record("subscription.ended", row, new={"state": state, "credits_lost": row.credits_lost}, user=row.user_id)


def _tell_failed(row: Subscription, invoices: Invoices) -> None:
    for fact in invoices:
        if row.state != SubscriptionState.PAST_DUE or fact.status != "open" or not fact.attempts:
            continue
        with transaction.atomic():
            rows.tell(
                row,
                "subscription-payment-failed",
                cause=f"failed:{fact.ref}",
                amount=rows.display(fact.amount, fact.currency),
            )


def _schedule(row: Subscription, invoices: Invoices) -> None:
    """An hour after the period; hourly while an invoice waits, as a renewal's does for its first hour; a first one, and
    an upgrade that is under way, are looked at more often."""
    mine: QuerySet[Subscription] = Subscription.objects.filter(pk=row.pk)
    if rows.has_ended(row):
        mine.update(next_check_at=None)
    elif row.state == SubscriptionState.INCOMPLETE or row.period_end is None or upgrades.is_open(row):
        mine.update(next_check_at=Now() + SOON)
    elif any(invoice.status in WAITING for invoice in invoices):
        mine.update(next_check_at=Now() + AGAIN)
    else:
        mine.update(next_check_at=Greatest(Value(row.period_end + AGAIN), Now() + AGAIN))


# --- Who has news ---------------------------------------------------------------------------------------------------


def look_at(ref: str, ours: str = "") -> Subscription | None:
    """Look at the subscription that an event names, by the gateway's id or by ours in it. None when it is not ours.

    Raises: GatewayError.
    """
    row = Subscription.objects.filter(ref=ref).first() if ref else None
    if row is None and ours:
        row = Subscription.objects.filter(pk__in=_uuids(ours), ref=None).first()
    return refresh(row) if row else None


def look_at_invoice(ref: str) -> Payment | None:
    """Look at the subscription behind an invoice; its payment, if it has become one.

    Raises: GatewayError.
    """
    known = SubscriptionInvoice.objects.filter(ref=ref).select_related("subscription").first()
    row = known.subscription if known else None
    if row is None:
        row = Subscription.objects.filter(ref=stripe.fetch_invoice(ref).subscription_ref or None).first()
    if row is None:
        return None
    refresh(row)
    seen = SubscriptionInvoice.objects.filter(ref=ref).select_related("payment").first()
    return seen.payment if seen else None


def _uuids(text: str) -> list[uuid.UUID]:
    try:
        return [uuid.UUID(text)]
    except ValueError:
        return []


def poll() -> int:
    """Look at the subscriptions that are due: renewals need no webhook. Returns how many were looked at.

    Idempotent: `refresh` is; a claimed row is due again in an hour, whatever happens to us.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE billing_subscription SET next_check_at = statement_timestamp() + interval '1 hour'
            WHERE id IN (
                SELECT id FROM billing_subscription WHERE next_check_at <= statement_timestamp()
                ORDER BY next_check_at LIMIT %s FOR NO KEY UPDATE SKIP LOCKED
            )
            RETURNING id
            """,
            [BATCH],
        )
        ids = [found[0] for found in cursor.fetchall()]
    for row in Subscription.objects.filter(pk__in=ids):
        try:
            refresh(row)
        except (GatewayError, GatewayUnavailable) as error:
            log.warning("subscription_not_seen", subscription=str(row.pk), error=str(error))
            _ask_soon(row)
        except Exception:
            log.exception("subscription_not_applied", subscription=str(row.pk))
    if len(ids) == BATCH:
        jobs.wake("billing.poll_subscriptions")
    return len(ids)


def _ask_soon(row: Subscription) -> None:
    Subscription.objects.filter(pk=row.pk).update(next_check_at=Now() + SOON)


def tell_expiring() -> int:
    """Write 7 days and 1 day before a subscription ends that was told to. Returns how many were looked at.

    Idempotent: by period and day. Enqueues: subscription-expiring
    """
    looked = 0
    for days in EXPIRING_DAYS:
        ending = Subscription.objects.filter(
            Q(state__in=ENTITLED, cancel_at_period_end=True),
            period_end__gt=Now(),
            period_end__lte=Now() + timedelta(days=days),
        )
        if days == max(EXPIRING_DAYS):
            # One that was told to end within its last day gets one letter.
            ending = ending.filter(period_end__gt=Now() + timedelta(days=min(EXPIRING_DAYS)))
        for row in ending.select_related("plan", "user").order_by("pk").iterator(chunk_size=200):
            looked += 1
            with transaction.atomic():
                rows.tell(
                    row,
                    "subscription-expiring",
                    cause=f"expiring:{row.period_end:%Y-%m-%d}:{days}",
                    days=str(days),
                    period_end=rows.day(row.period_end),
                )
    return looked

"""What a paid invoice gives: a month's credits, a year's twelve, or the difference of an upgrade."""

from __future__ import annotations

import calendar
import uuid
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

import audit
from accounts.models import UserStatus
from billing import ledger
from billing.fulfilment import Fulfilled, Refused
from billing.models import Interval, Payment, PaymentState, Subscription, SubscriptionChange, SubscriptionInvoice
from billing.models.subscriptions import ENTITLED
from billing.standing import lock as lock_payment
from billing.subscriptions import rows
from core.killpoints import reach
from core.money import display

# The gateway drafts a renewal's invoice about an hour after the period; a bank may take days.
GRACE = timedelta(days=3)
MONTHS = 12
BATCH = 50


def deliver(*, payment: Payment) -> Fulfilled | Refused:
    """Hand over what an invoice has paid for, inside the settling transaction.

    Idempotent: key `payment:<id>:grant`; an invoice is one payment.
    Locks: the caller holds the payment; the subscription, then the wallet.
    """
    invoice = SubscriptionInvoice.objects.select_related("plan", "change__new_plan").get(payment=payment)
    row = rows.lock(invoice.subscription_id)
    if row.user.status in (UserStatus.DELETING, UserStatus.DELETED):
        return Refused("the account was closed before the payment arrived")
    if not row.is_live:
        return Refused("this subscription had ended before its invoice was paid")
    if invoice.change is not None:
        _deliver_upgrade(row, invoice, payment)
    elif payment.credits:
        _deliver_period(row, invoice, payment)
    return Fulfilled(granted=payment.credits)


def _deliver_period(row: Subscription, invoice: SubscriptionInvoice, payment: Payment) -> None:
    """A period's credits; those of the period before it end, for nothing rolls over."""
    plan = invoice.plan
    assert plan is not None and invoice.period_start is not None and invoice.period_end is not None  # noqa: PT018
    _end_former(row, invoice)
    reach("subscriptions.period.former_ended")
    is_first = invoice.reason == "subscription_create"
    old = row.plan
    row.plan = plan
    if row.next_plan_id == plan.pk:
        row.next_plan = None
    row.save(update_fields=["plan", "next_plan", "updated_at"])
    if old.pk != plan.pk:
        audit.record(
            "subscription.plan_changed", row, old={"plan": str(old)}, new={"plan": str(plan)}, user=row.user_id
        )
    ends = invoice.period_end
    if plan.interval == Interval.YEAR:
        ends = add_months(invoice.period_start, 1)
        invoice.months, invoice.next_month_at = 1, ends
        invoice.save(update_fields=["months", "next_month_at", "updated_at"])
    _grant(payment, f"payment:{payment.pk}:grant", payment.credits, max(ends, _paid_at(invoice)) + GRACE)
    reach("subscriptions.period.granted")
    rows.tell(
        row,
        "subscription-started" if is_first else "subscription-renewed",
        cause=f"paid:{invoice.ref}",
        amount=display(payment.received, payment.currency),
        credits=f"{payment.credits:,}",
        period_end=rows.day(invoice.period_end),
    )


def _deliver_upgrade(row: Subscription, invoice: SubscriptionInvoice, payment: Payment) -> None:
    change = invoice.change
    assert change is not None
    ends = _end_of_current(row) or _paid_at(invoice)
    if payment.credits:
        _grant(payment, f"payment:{payment.pk}:grant", payment.credits, max(ends, _paid_at(invoice)) + GRACE)
    raise_plan(row, change, credits=payment.credits)


@audit.writes("subscription")
def raise_plan(row: Subscription, change: SubscriptionChange, *, credits: int) -> None:
    """Give the plan of an upgrade, whose credits are given already. Idempotent: by the change's state.

    Locks: the caller holds the subscription.
    """
    applied = SubscriptionChange.State.APPLIED
    if not SubscriptionChange.objects.filter(pk=change.pk).exclude(state=applied).update(state=applied):
        return
    old, row.plan = row.plan, change.new_plan
    row.save(update_fields=["plan", "updated_at"])
    # The months of a year that are still to come are the new plan's.
    SubscriptionInvoice.objects.filter(subscription=row, next_month_at__isnull=False).update(plan=change.new_plan)
    audit.record(
        "subscription.upgraded",
        row,
        old={"plan": str(old)},
        new={"plan": str(row.plan), "credits": credits},
        user=row.user_id,
    )


def _grant(payment: Payment, key: str, amount: int, expires_at: datetime) -> None:
    ledger.grant(
        user_id=payment.user_id,
        amount=amount,
        category="subscription",
        key=key,
        kind="purchase",
        subject=("payment", payment.pk),
        expires_at=expires_at,
        memo=payment.title,
    )


def _paid_at(invoice: SubscriptionInvoice) -> datetime:
    return invoice.paid_at or timezone.now()


def _end_of_current(row: Subscription) -> datetime | None:
    """The end of what is being used up: the month of a year, else the period."""
    yearly = SubscriptionInvoice.objects.filter(subscription=row, next_month_at__isnull=False).order_by("-pk").first()
    return yearly.next_month_at if yearly else row.period_end


def _end_former(row: Subscription, invoice: SubscriptionInvoice) -> None:
    _end_credits_of(row, _others_of(row, invoice).filter(period_end__lte=invoice.period_start))


def _others_of(row: Subscription, invoice: SubscriptionInvoice) -> QuerySet[SubscriptionInvoice]:
    paid: QuerySet[SubscriptionInvoice] = row.invoices.filter(has_ended=False, payment__isnull=False)
    return paid.exclude(pk=invoice.pk)


def _end_credits_of(row: Subscription, invoices: QuerySet[SubscriptionInvoice]) -> None:
    for earlier in invoices.order_by("pk"):
        ledger.end_lots(user_id=row.user_id, source=("payment", earlier.payment_id))  # type: ignore[arg-type]
        SubscriptionInvoice.objects.filter(pk=earlier.pk).update(has_ended=True, next_month_at=None)


@audit.writes("subscription")
def end_all(row: Subscription) -> int:
    """End whatever is left of the subscription's credits, now. Returns how many went.

    Idempotent: by state. Locks: the caller holds the subscription; the wallet, then lots.
    """
    lost = 0
    for invoice in SubscriptionInvoice.objects.filter(subscription=row, has_ended=False, payment__isnull=False):
        lost += ledger.end_lots(user_id=row.user_id, source=("payment", invoice.payment_id))  # type: ignore[arg-type]
    SubscriptionInvoice.objects.filter(subscription=row).update(has_ended=True, next_month_at=None)
    audit.record("subscription.credits_ended", row, new={"credits": lost}, user=row.user_id)
    return lost


# --- The months of a year -------------------------------------------------------------------------------------------


def grant_months() -> int:
    """Give the next month of yearly subscriptions whose time has come. Returns how many were given.

    None while the subscription is past due, and none any more once it has ended or its invoice was refunded.
    Idempotent: by key and by the invoice's count.
    """
    due = SubscriptionInvoice.objects.filter(
        Q(subscription__state__in=ENTITLED), next_month_at__lte=Now(), payment__isnull=False
    ).exclude(subscription__state="past_due")
    given = 0
    for invoice_id, payment_id in list(due.order_by("next_month_at").values_list("pk", "payment_id")[:BATCH]):
        with transaction.atomic():
            given += _grant_month(invoice_id, payment_id)
    return given


def _grant_month(invoice_id: uuid.UUID, payment_id: uuid.UUID) -> int:
    """Locks: payment → subscription → wallet."""
    payment = lock_payment(payment_id)
    invoice = SubscriptionInvoice.objects.select_related("plan").get(pk=invoice_id)
    row = rows.lock(invoice.subscription_id)
    due = SubscriptionInvoice.objects.filter(pk=invoice.pk, next_month_at__lte=Now()).exists()
    if not due or row.state not in ENTITLED or row.state == "past_due":
        return 0
    if payment.state != PaymentState.SUCCEEDED or invoice.months >= MONTHS:
        SubscriptionInvoice.objects.filter(pk=invoice.pk).update(next_month_at=None)
        return 0
    assert invoice.plan is not None and invoice.period_start is not None  # noqa: PT018
    month = invoice.months + 1
    ends = add_months(invoice.period_start, month)
    ledger.end_lots(user_id=row.user_id, source=("payment", payment.pk))
    _end_credits_of(row, _others_of(row, invoice))  # an upgrade's were for the month that is over
    credits = invoice.plan.credits
    _grant(payment, f"payment:{payment.pk}:grant:{month}", credits, max(ends, timezone.now()) + GRACE)
    reach("subscriptions.month.granted")
    payment.granted, payment.credits = payment.granted + credits, payment.credits + credits
    payment.save(update_fields=["granted", "credits", "updated_at"])
    SubscriptionInvoice.objects.filter(pk=invoice.pk).update(
        months=month, next_month_at=ends if month < MONTHS else None
    )
    audit.record(
        "subscription.month_given",
        row,
        new={"month": month, "credits": credits, "invoice": invoice.ref},
        user=row.user_id,
    )
    return 1


def add_months(at: datetime, months: int) -> datetime:
    """That many months on, by the calendar."""
    year, month = divmod(at.year * 12 + at.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return at.replace(year=year, month=month + 1, day=min(at.day, last))

"""What billing tells a person: that money goes back, and all it keeps of them (settings.ACCOUNT_EXPORT)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import F
from django.utils.translation import gettext_noop

from accounts.exports import Part, Rows
from billing.models import (
    Debt,
    LedgerEntry,
    Payment,
    Refund,
    RefundMethod,
    RefundOrigin,
    Subscription,
    Wallet,
)
from core.money import display
from notifications import outbox

_WALLET = ("id", "kind", "unit", "balance", "held", "frozen")
_ENTRY = {
    "at": F("transaction__created_at"),
    "unit": F("wallet__unit"),
    "kind": F("transaction__kind"),
    "memo": F("transaction__memo"),
    "subject_type": F("transaction__subject_type"),
    "subject_id": F("transaction__subject_id"),
}
_PAYMENT = ("id", "created_at", "item", "title", "gateway", "amount", "currency", "state", "received", "refunded")
_REFUND = ("id", "created_at", "payment_id", "amount", "state")
_SUBSCRIPTION = ("id", "created_at", "plan__code", "plan__interval", "state", "period_start", "period_end", "ended_at")
_DEBT = ("id", "created_at", "unit", "amount", "remaining", "cause")


def refunded(payment: Payment, row: Refund, *, taken: int) -> None:
    """Write to the customer that money goes back. What was never delivered has had its mail.

    Idempotent: by refund. Enqueues: refund
    """
    if row.origin == RefundOrigin.REFUSED:
        return
    reasons = {
        RefundOrigin.SURPLUS: gettext_noop("You had paid for it already."),
        RefundOrigin.CANCELED: gettext_noop("It was canceled."),
    }
    way = gettext_noop("by bank transfer") if row.method == RefundMethod.MANUAL else gettext_noop("the way they came")
    kept = "" if row.origin == RefundOrigin.CANCELED else gettext_noop("What you bought stays yours.")
    outbox.enqueue(
        "refund",
        user=payment.user,
        cause=f"refund:{row.pk}",
        context={
            "payment_id": str(payment.pk),
            "refund_id": str(row.pk),
            "amount": display(row.amount, row.currency),
            "goods": payment.title,
            "way": way,
            "reason": reasons.get(RefundOrigin(row.origin), ""),
            "consequence": f"{display(taken, payment.unit)} were taken back for it." if taken else kept,
        },
    )


def export(*, user: Any) -> Iterator[Part]:
    """Wallets with every movement, payments, subscriptions, refunds, debts. Amounts are in minor units."""
    yield Rows("wallets", Wallet.objects.filter(user=user).values(*_WALLET))
    entries = (
        LedgerEntry.objects.filter(wallet__user=user)
        .order_by("id")
        .values("wallet_id", "amount", "balance_after", **_ENTRY)
    )
    yield Rows("ledger", entries.iterator())
    yield Rows("payments", Payment.objects.filter(user=user).order_by("created_at").values(*_PAYMENT).iterator())
    yield Rows("refunds", Refund.objects.filter(payment__user=user).order_by("created_at").values(*_REFUND).iterator())
    told = Subscription.objects.filter(user=user).order_by("created_at").values(*_SUBSCRIPTION)
    yield Rows("subscriptions", told)
    yield Rows("debts", Debt.objects.filter(user=user).order_by("created_at").values(*_DEBT))

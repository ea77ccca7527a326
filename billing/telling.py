"""What billing tells a person of themselves (settings.ACCOUNT_EXPORT)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import F

from accounts.exports import Part, Rows
from billing.models import Debt, LedgerEntry, Payment, Refund, Subscription, Wallet

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

"""What people read about their wallets: entries, and the whole state of their credits in figures and words."""

from __future__ import annotations

import uuid
from typing import Any

from django.db.models import F, Q, QuerySet, Sum

from accounts.models import User
from billing.ledger.balances import balance
from billing.models import CreditLot, Debt, Freeze, Hold, LedgerEntry, Wallet
from core.money import CREDIT, display

# Explaining lists this many of each kind; the sums are over all.
LISTED = 100


def wallets(viewer: User) -> QuerySet[Wallet]:
    """The viewer's wallets, in the order in which they were opened."""
    return Wallet.objects.filter(user=viewer).order_by("created_at", "pk")


def entries(viewer: User, *, wallet_id: uuid.UUID | None = None) -> QuerySet[LedgerEntry]:
    """The viewer's entries of one wallet, or of the credits, newest first."""
    mine = Wallet.objects.filter(user=viewer)
    chosen = mine.filter(pk=wallet_id) if wallet_id else mine.filter(kind="credits", unit=CREDIT)
    # The wallet's id first, by itself: then the newest entries are read off the index (wallet, -id).
    pk = chosen.values_list("pk", flat=True).first()
    found = LedgerEntry.objects.filter(wallet_id=pk) if pk else LedgerEntry.objects.none()
    return found.select_related("transaction").order_by("-id")


def explain(viewer: User) -> dict[str, Any]:
    """Why the balance is what it is: its lots in the order in which they are spent, what holds and freezes parts of it,
    what is owed, and what ends next; in figures and in words.
    """
    now = balance(viewer.pk)
    mine = Q(wallet__user=viewer, wallet__kind="credits", wallet__unit=CREDIT)
    live = CreditLot.objects.filter(mine, exhausted_at__isnull=True)
    lots = live.annotate(is_paid=~Q(category=CreditLot.Category.PROMO)).order_by(
        F("expires_at").asc(nulls_last=True), "is_paid", "pk"
    )
    ending = (
        live.filter(expires_at__isnull=False, remaining__gt=F("frozen")).values("expires_at").order_by("expires_at")
    )
    soonest = ending.annotate(amount=Sum(F("remaining") - F("frozen"))).first()
    debts = Debt.objects.filter(user=viewer, remaining__gt=0)
    found = {
        "balance": now.balance,
        "held": now.held,
        "frozen": now.frozen,
        "available": now.available,
        "debt": now.debt,
        "next_expiry": soonest and {"at": soonest["expires_at"], "amount": soonest["amount"]},
        "lots": list(lots[:LISTED]),
        "holds": list(Hold.objects.filter(mine, state=Hold.State.OPEN).order_by("pk")[:LISTED]),
        "freezes": list(Freeze.objects.filter(mine, state=Freeze.State.OPEN, amount__gt=0).order_by("pk")[:LISTED]),
        "debts": list(debts.order_by("pk")[:LISTED]),
    }
    return found | {"explanation": _in_words(found)}


def _in_words(found: dict[str, Any]) -> list[str]:
    said = [f"You own {display(found['balance'], CREDIT)}; {display(found['available'], CREDIT)} can be spent now."]
    if found["held"]:
        said.append(
            f"{display(found['held'], CREDIT)} held for what is under way: "
            "spent when it is done, free again if it fails or is canceled."
        )
    if found["frozen"]:
        said.append(f"{display(found['frozen'], CREDIT)} out of reach while a refund or dispute is open.")
    if found["next_expiry"]:
        ending = found["next_expiry"]
        said.append(
            f"{display(ending['amount'], CREDIT)} will end on {ending['at']:%d %B %Y at %H:%M} UTC unless spent before."
        )
    if found["lots"]:
        said.append("Credits that end soonest are spent first, then gifts before bought ones, then the oldest.")
    for debt in found["debts"]:
        blocks = " Nothing can be spent before." if debt.is_blocking else ""
        said.append(f"You owe {display(debt.remaining, debt.unit)}; your next purchase repays it first.{blocks}")
    return said

"""What the ledger's tests start from, made by the ledger's own operations."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from uuid import UUID

from accounts.models import User
from billing import ledger
from billing.models import CreditLot, Wallet
from core.ids import new_id

_numbers = itertools.count(1)


def person() -> User:
    """Somebody with wallets and no credits; no password, so that it costs nothing."""
    user = User.objects.create(email=f"{next(_numbers)}-{new_id().hex[-8:]}@example.com")
    ledger.open_wallets(user=user)
    return user


def later(**span: float) -> datetime:
    return datetime.now(UTC) + timedelta(**(span or {"hours": 1}))


def bought(
    user: User, amount: int, *, category: str = "paid", expires_at: datetime | None = None, sale: UUID | None = None
) -> UUID:
    """Credits from a sale, whose id is returned."""
    sale = sale or new_id()
    ledger.grant(
        user_id=user.pk,
        amount=amount,
        category=category,
        key=f"sale:{sale}:grant",
        kind="purchase" if category == "paid" else "grant",
        subject=("sale", sale),
        house="promo" if category == "promo" else "issued",
        expires_at=expires_at,
    )
    return sale


def held(user: User, amount: int, *, key: str | None = None, **other: str) -> str:
    """A hold for a job of its own; its key is returned."""
    job = new_id()
    key = key or f"job:{job}"
    ledger.hold(user_id=user.pk, amount=amount, key=key, subject=("job", job), alarm_at=later(), **other)
    return key


def spent(user: User, amount: int) -> str:
    """Credits gone for good; the hold's key is returned."""
    key = held(user, amount)
    ledger.capture(key=key)
    return key


def topped_up(user: User, amount: int, *, kind: str = "primary", unit: str = "NGN") -> UUID:
    """Money on a wallet; the sale's id is returned. From `adjustment`: a gateway's wallet answers to real payments."""
    sale = new_id()
    ledger.grant(
        user_id=user.pk,
        amount=amount,
        category=None,
        key=f"sale:{sale}:grant",
        kind="purchase",
        subject=("sale", sale),
        house="adjustment",
        unit=unit,
        wallet_kind=kind,
    )
    return sale


def wallet(user: User, kind: str = "credits") -> Wallet:
    return Wallet.objects.get(user=user, kind=kind)


def lots(user: User) -> list[tuple[str, int]]:
    """(category, remaining) of the person's live lots, oldest first."""
    live = CreditLot.objects.filter(wallet__user=user, exhausted_at__isnull=True).order_by("pk")
    return list(live.values_list("category", "remaining"))


def house(kind: str, unit: str = "CREDIT") -> int:
    """The sum of a house wallet's entries."""
    return sum(
        entry.amount
        for found in Wallet.objects.filter(user__isnull=True, kind=kind, unit=unit)
        for entry in found.entries.all()
    )

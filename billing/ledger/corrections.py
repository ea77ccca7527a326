"""Moving money between people's wallets, and correcting a balance by staff's word."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now

import audit
from billing.errors import LedgerKeyMismatch
from billing.ledger import posting
from billing.ledger.calls import Subject, area, asked_by, call, known_unit, units
from billing.ledger.expiry import expire_due, lock, lock_of
from billing.ledger.funding import Posted
from billing.ledger.spending import refusal
from billing.models import CreditLot, Debt, HouseKind, LedgerTransaction, Wallet
from core.context import current
from core.money import CREDIT

Kind = LedgerTransaction.Kind


@dataclass(frozen=True, slots=True)
class Adjusted:
    """What the balance really moved by: less than asked where less was available."""

    amount: int
    balance: int
    is_replay: bool


@audit.writes("wallet")
def transfer(
    *,
    from_id: uuid.UUID,
    to_id: uuid.UUID,
    amount: int,
    key: str,
    subject: Subject,
    actor_id: uuid.UUID | None = None,
    memo: str = "",
) -> Posted:
    """Move money between two people's wallets of one unit. Credits are never transferred.

    Idempotent: by key.
    Locks: both wallets, by id.
    Raises: InsufficientFunds, DebtOutstanding, LedgerKeyMismatch; ValueError for wallets that do not fit.
    """
    units(amount)
    with transaction.atomic():
        wallets = {wallet.pk: wallet for wallet in lock(Wallet.objects.filter(pk__in=[from_id, to_id]))}
        if len(wallets) != 2:
            raise ValueError("a transfer needs two wallets that exist")
        origin, target = wallets[from_id], wallets[to_id]
        if origin.user_id is None or target.user_id is None:
            raise ValueError("house wallets take no part in transfers")
        if origin.unit != target.unit or origin.unit == CREDIT:
            raise ValueError(f"cannot transfer {origin.unit} to {target.unit}")

        done = posting.written(key, Kind.TRANSFER, origin, subject)
        if done is not None and done.amount == -amount and done.transaction.entries.filter(wallet=target).exists():
            return Posted(done.transaction_id, is_replay=True)
        status = ""
        if Debt.objects.filter(user_id=origin.user_id, is_blocking=True, remaining__gt=0).exists():
            status = "debt_outstanding"
        elif origin.available < amount:
            status = "insufficient"
        if status and done is None:
            raise refusal(status, user_id=origin.user_id, unit=origin.unit, required=amount, available=origin.available)
        posted = posting.post(
            kind=Kind.TRANSFER, key=key, subject=subject, actor_id=actor_id, memo=memo, wallet=origin,
            amount=-amount, other=target.pk, other_after=(target.balance or 0) + amount,
        )  # fmt: skip
        Wallet.objects.filter(pk=target.pk).update(balance=F("balance") + amount, updated_at=Now())
        audit.record(
            "wallet.transferred",
            subject,
            user=origin.user_id,
            new={"amount": amount, "unit": origin.unit, "from": from_id, "to": to_id},
            metadata={"transaction": posted, "key": key},
        )
        return Posted(posted, is_replay=False)


@audit.writes("credits")
def adjust(
    *,
    user_id: uuid.UUID,
    amount: int,
    key: str,
    subject: Subject,
    memo: str,
    actor_id: uuid.UUID | None = None,
    category: str | None = CreditLot.Category.PROMO,
    expires_at: datetime | None = None,
    unit: str = CREDIT,
    wallet_kind: str = "credits",
) -> Adjusted:
    """Correct a balance by staff's word: `amount` up, or down by at most what is available.

    Idempotent: by key.
    Locks: the wallet, then lots.
    Raises: LedgerKeyMismatch.
    """
    units(abs(amount))
    if amount > 0:
        status, balance, is_replay = call(
            "SELECT status, balance, is_replay"
            " FROM ledger_grant(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (user_id, wallet_kind, known_unit(unit), units(amount), category if unit == CREDIT else None,
             Kind.ADJUSTMENT, key, *subject, HouseKind.ADJUSTMENT, expires_at, *subject,
             actor_id or current().actor_id, memo, asked_by()),
        )  # fmt: skip
        if status == "mismatch":
            raise LedgerKeyMismatch(f"{key} was adjusted with other figures.")
        return Adjusted(amount, balance, is_replay)

    with transaction.atomic():
        wallet = lock_of(user_id, wallet_kind, known_unit(unit))
        done = posting.written(key, Kind.ADJUSTMENT, wallet, subject)
        if done is not None:
            if not amount <= done.amount < 0:
                raise LedgerKeyMismatch(f"{key} was adjusted with other figures.")
            return Adjusted(done.amount, done.balance_after or 0, is_replay=True)
        expire_due(wallet)
        take = min(-amount, wallet.available)
        if take:
            if unit == CREDIT:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT ledger_burn(%s, %s)", [wallet.pk, take])
            posting.post(
                kind=Kind.ADJUSTMENT, key=key, subject=subject, actor_id=actor_id, memo=memo, wallet=wallet,
                amount=-take, other=posting.house(HouseKind.ADJUSTMENT, unit),
            )  # fmt: skip
        audit.record(
            f"{area(unit)}.adjusted",
            subject,
            user=user_id,
            new={"amount": -take, "balance": wallet.balance},
            metadata={"key": key, "asked": amount, "memo": memo},
        )
        return Adjusted(-take, wallet.balance or 0, is_replay=False)

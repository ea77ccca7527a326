"""The rarer movements of a balance, as SQL under the wallet's lock: transfer, claw back, adjust, waive.

Clawing back and adjusting take at most what is available; what is held is never touched.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now

import audit
from billing.errors import LedgerKeyMismatch
from billing.ledger.calls import Subject, area, asked_by, call, known_unit, units
from billing.ledger.expiry import expire_due, lock, lock_of
from billing.ledger.freezing import end_freeze, free_lots
from billing.ledger.funding import Posted
from billing.ledger.spending import refusal
from billing.models import CreditLot, Debt, Freeze, HouseKind, LedgerEntry, LedgerTransaction, Wallet
from core.context import current
from core.money import CREDIT

Kind = LedgerTransaction.Kind


@dataclass(frozen=True, slots=True)
class ClawedBack:
    """`taken` now; `owed` became the debt."""

    taken: int
    owed: int
    debt_id: uuid.UUID | None
    is_replay: bool


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

        done = _entry(key, Kind.TRANSFER, origin, subject)
        if done is not None and done.amount == -amount and done.transaction.entries.filter(wallet=target).exists():
            return Posted(done.transaction_id, is_replay=True)
        status = ""
        if Debt.objects.filter(user_id=origin.user_id, is_blocking=True, remaining__gt=0).exists():
            status = "debt_outstanding"
        elif origin.available < amount:
            status = "insufficient"
        if status and done is None:
            raise refusal(status, user_id=origin.user_id, unit=origin.unit, required=amount, available=origin.available)
        posted = _post(
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
def claw_back(
    *,
    user_id: uuid.UUID,
    amount: int,
    key: str,
    subject: Subject,
    source: Subject | None = None,
    freeze_key: str | None = None,
    is_blocking: bool = False,
    house: str = HouseKind.ISSUED,
    unit: str = CREDIT,
    wallet_kind: str = "credits",
    actor_id: uuid.UUID | None = None,
    memo: str = "",
) -> ClawedBack:
    """Take back `amount` of what `source` (a payment) brought: first what `freeze_key` keeps frozen, then what is
    available of that source. The rest becomes a debt, which blocks spending if `is_blocking` (a lost dispute).

    On a wallet of money `house` is the gateway's wallet and gets the whole amount, since that much has left it; what
    the wallet lacks is written off until the debt is repaid.

    Idempotent: by key, which is also the debt's cause.
    Locks: the wallet, then lots by id.
    Raises: LedgerKeyMismatch.
    """
    units(amount)
    if (source is None) == (unit == CREDIT):
        raise ValueError("credits are clawed back from a source, money from its wallet")
    with transaction.atomic():
        wallet = lock_of(user_id, wallet_kind, known_unit(unit))
        done = _entry(key, Kind.CLAWBACK, wallet, subject)
        debt = Debt.objects.filter(cause=key).first()
        if done is not None or debt is not None:
            taken, owed = -done.amount if done else 0, debt.amount if debt else 0
            if taken + owed != amount or (debt and (debt.user_id, debt.unit) != (user_id, unit)):
                raise LedgerKeyMismatch(f"{key} was clawed back with other figures.")
            return ClawedBack(taken, owed, debt and debt.pk, is_replay=True)

        # What is frozen is taken before expiry has its turn: freezing kept it for exactly this.
        if freeze_key is not None:
            end_freeze(Freeze.objects.get(key=freeze_key, wallet=wallet), wallet, Freeze.State.TAKEN)
        take = min(amount, wallet.available)
        if unit == CREDIT:
            take = _take_from_lots(wallet, source, take)
        owed = amount - take
        if take:
            _post(
                kind=Kind.CLAWBACK, key=key, subject=subject, actor_id=actor_id, memo=memo, wallet=wallet,
                amount=-take, other=_house(house, unit),
            )  # fmt: skip
        if owed:
            debt = Debt(
                user_id=user_id, unit=unit, amount=owed, remaining=owed, cause=key, is_blocking=is_blocking,
                subject_type=subject[0], subject_id=subject[1],
            )  # fmt: skip
            debt.save(force_insert=True)
            if unit != CREDIT:
                _write_off(house=house, amount=owed, key=key, unit=unit, subject=subject, actor_id=actor_id, memo=memo)
        expire_due(wallet)
        audit.record(
            f"{area(unit)}.clawed_back",
            subject,
            user=user_id,
            new={"taken": take, "owed": owed, "balance": wallet.balance},
            metadata={"key": key, "unit": unit, "is_blocking": is_blocking},
        )
        return ClawedBack(take, owed, debt.pk if debt else None, is_replay=False)


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
        done = _entry(key, Kind.ADJUSTMENT, wallet, subject)
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
            _post(
                kind=Kind.ADJUSTMENT, key=key, subject=subject, actor_id=actor_id, memo=memo, wallet=wallet,
                amount=-take, other=_house(HouseKind.ADJUSTMENT, unit),
            )  # fmt: skip
        audit.record(
            f"{area(unit)}.adjusted",
            subject,
            user=user_id,
            new={"amount": -take, "balance": wallet.balance},
            metadata={"key": key, "asked": amount, "memo": memo},
        )
        return Adjusted(-take, wallet.balance or 0, is_replay=False)


@audit.writes("debt")
def waive(*, debt_id: uuid.UUID, reason: str, actor_id: uuid.UUID | None = None) -> Debt:
    """Give up what remains of a debt.

    Idempotent: by state.
    Locks: the debt.
    """
    with transaction.atomic():
        debt = Debt.objects.select_for_update(of=("self",), no_key=True).get(pk=debt_id)
        if not debt.remaining:
            return debt
        given_up = debt.remaining
        debt.waived, debt.remaining = debt.waived + given_up, 0
        debt.save(update_fields=["waived", "remaining"])
        audit.record(
            "debt.waived",
            debt,
            user=debt.user_id,
            actor_id=actor_id,
            old={"remaining": given_up},
            new={"remaining": 0},
            metadata={"reason": reason, "unit": debt.unit},
        )
        return debt


def _house(kind: str, unit: str) -> uuid.UUID:
    [house] = call("SELECT ledger_house(%s, %s)", (kind, unit))
    assert isinstance(house, uuid.UUID)
    return house


def _entry(key: str, kind: str, wallet: Wallet, subject: Subject) -> LedgerEntry | None:
    """The wallet's side of what this key wrote before.

    Raises: LedgerKeyMismatch when the key wrote something else.
    """
    known = LedgerTransaction.objects.filter(key=key).first()
    if known is None:
        return None
    entry = known.entries.select_related("transaction").filter(wallet=wallet).first()
    if entry is None or (known.kind, known.subject_type, known.subject_id) != (kind, *subject):
        raise LedgerKeyMismatch(f"{key} is in the books with other figures.")
    return entry


def _post(
    *,
    kind: str,
    key: str,
    subject: Subject,
    actor_id: uuid.UUID | None,
    memo: str,
    wallet: Wallet,
    amount: int,
    other: uuid.UUID,
    other_after: int | None = None,
) -> uuid.UUID:
    """Move a locked wallet's balance and write both entries.

    Raises: LedgerKeyMismatch when another wallet took the key meanwhile.
    """
    wallet.balance = (wallet.balance or 0) + amount
    [written] = call(
        "SELECT ledger_write(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (kind, key, wallet.unit, *subject, actor_id or current().actor_id, memo,
         wallet.pk, amount, wallet.balance, other, other_after),
    )  # fmt: skip
    if written is None:
        raise LedgerKeyMismatch(f"{key} is in the books with other figures.")
    assert isinstance(written, uuid.UUID)
    Wallet.objects.filter(pk=wallet.pk).update(balance=wallet.balance, updated_at=Now())
    return written


def _take_from_lots(wallet: Wallet, source: Subject | None, amount: int) -> int:
    """Take up to `amount` from what is free in the source's lots, by id; returns what was there."""
    left = amount
    for lot in free_lots(wallet, source):
        take = min(left, lot.remaining - lot.frozen)
        if not take:
            break
        CreditLot.objects.filter(pk=lot.pk).update(
            remaining=F("remaining") - take, exhausted_at=Now() if lot.remaining == take else None
        )
        left -= take
    return amount - left


def _write_off(
    *, house: str, amount: int, key: str, unit: str, subject: Subject, actor_id: uuid.UUID | None, memo: str
) -> None:
    call(
        "SELECT status FROM ledger_post_house(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, NULL)",
        (Kind.CLAWBACK, f"{key}:written-off", unit, *subject, actor_id or current().actor_id, memo,
         house, units(amount), HouseKind.WRITEOFF),
    )  # fmt: skip

"""Taking back: freeze what an open refund or dispute may take, thaw it, claw it back; the rest is debt, or waived.

Freezing and clawing back take at most what is available; what is held is never touched.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import F, Min, Q
from django.db.models.functions import Coalesce, Now

import audit
from billing.errors import HoldClosed, LedgerKeyMismatch
from billing.ledger import posting
from billing.ledger.calls import Subject, area, call, known_unit, units
from billing.ledger.expiry import expire_due, lock, lock_of
from billing.models import CreditLot, Debt, Freeze, HouseKind, LedgerTransaction, Wallet
from core.context import current
from core.money import CREDIT

Kind = LedgerTransaction.Kind


@dataclass(frozen=True, slots=True)
class Frozen:
    """`amount` of what was `wanted` is out of reach."""

    freeze_id: uuid.UUID
    amount: int
    wanted: int
    state: str


@dataclass(frozen=True, slots=True)
class ClawedBack:
    """`taken` now; `owed` became the debt."""

    taken: int
    owed: int
    debt_id: uuid.UUID | None
    is_replay: bool


@audit.writes("credits")
def freeze(
    *,
    user_id: uuid.UUID,
    amount: int,
    key: str,
    subject: Subject,
    source: Subject | None = None,
    unit: str = CREDIT,
    wallet_kind: str = "credits",
) -> Frozen:
    """Put up to `amount` out of reach: of what `source` (a payment) brought and is available. Asking again under the
    key takes what has come free since, towards the same amount.

    Idempotent: by key.
    Locks: the wallet, then lots by id.
    Raises: LedgerKeyMismatch.
    """
    units(amount)
    if (source is None) == (unit == CREDIT):
        raise ValueError("credits are frozen by their source, money by its wallet")
    with transaction.atomic():
        wallet = lock_of(user_id, wallet_kind, known_unit(unit))
        expire_due(wallet)
        asked = {
            "wallet_id": wallet.pk,
            "wanted": amount,
            "subject_type": subject[0],
            "subject_id": subject[1],
            "source_type": source[0] if source else "",
            "source_id": source[1] if source else None,
        }
        found = Freeze.objects.filter(key=key).first()
        if found is None:
            # A twin on another wallet may hold the key by now: then it is not ours, and the figures below say so.
            Freeze.objects.bulk_create([Freeze(key=key, amount=0, **asked)], ignore_conflicts=True)
            found = Freeze.objects.get(key=key)
        if any(getattr(found, field) != value for field, value in asked.items()):
            raise LedgerKeyMismatch(f"{key} was frozen with other figures.")
        if found.state == Freeze.State.OPEN:
            more = min(found.wanted - found.amount, wallet.available)
            if unit == CREDIT:
                more = _freeze_lots(wallet, source, more)
            if more:
                found.amount += more
                found.save(update_fields=["amount"])
                Wallet.objects.filter(pk=wallet.pk).update(frozen=F("frozen") + more, updated_at=Now())
            audit.record(
                f"{area(unit)}.frozen",
                subject,
                user=user_id,
                new={"amount": found.amount, "wanted": amount},
                metadata={"key": key, "more": more, "unit": unit},
            )
        return Frozen(found.pk, found.amount, found.wanted, found.state)


@audit.writes("credits")
def thaw(*, key: str) -> Frozen:
    """Give back what `key` froze; lots that end get the frozen time on top.

    Idempotent: by state.
    Locks: the wallet, then lots by id.
    Raises: HoldClosed when it was taken; Freeze.DoesNotExist for an unknown key.
    """
    with transaction.atomic():
        [wallet] = lock(Wallet.objects.filter(pk=Freeze.objects.values("wallet_id").get(key=key)["wallet_id"]))
        found = Freeze.objects.get(key=key)
        if found.state == Freeze.State.TAKEN:
            raise HoldClosed(f"What {key} froze has been taken.")
        if found.state == Freeze.State.OPEN:
            _end_freeze(found, wallet, Freeze.State.THAWED)
            expire_due(wallet)
            audit.record(
                f"{area(wallet.unit)}.thawed",
                (found.subject_type, found.subject_id),
                user=wallet.user_id,
                new={"amount": found.amount},
                metadata={"key": key, "unit": wallet.unit},
            )
        return Frozen(found.pk, found.amount, found.wanted, found.state)


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
        done = posting.written(key, Kind.CLAWBACK, wallet, subject)
        debt = Debt.objects.filter(cause=key).first()
        if done is not None or debt is not None:
            taken, owed = -done.amount if done else 0, debt.amount if debt else 0
            if taken + owed != amount or (debt and (debt.user_id, debt.unit) != (user_id, unit)):
                raise LedgerKeyMismatch(f"{key} was clawed back with other figures.")
            return ClawedBack(taken, owed, debt.pk if debt else None, is_replay=True)

        # What is frozen is taken before expiry has its turn: freezing kept it for exactly this.
        kept = Freeze.objects.filter(key=freeze_key, wallet=wallet, state=Freeze.State.OPEN).first()
        if kept is not None:
            _end_freeze(kept, wallet, Freeze.State.TAKEN)
        take = min(amount, wallet.available)
        if unit == CREDIT:
            take = _take_from_lots(wallet, source, take)
        owed = amount - take
        if take:
            posting.post(
                kind=Kind.CLAWBACK, key=key, subject=subject, actor_id=actor_id, memo=memo, wallet=wallet,
                amount=-take, other=posting.house(house, unit),
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


def _end_freeze(found: Freeze, wallet: Wallet, state: str) -> None:
    """Close an open freeze of a locked wallet and free its lots.

    Locks: the caller holds the wallet.
    """
    left = found.amount if wallet.unit == CREDIT else 0
    source = Q(source_type=found.source_type, source_id=found.source_id)
    for lot in CreditLot.objects.filter(source, wallet=wallet, frozen__gt=0).order_by("pk"):
        give = min(left, lot.frozen)
        if not give:
            break
        if give == lot.frozen:
            CreditLot.objects.filter(pk=lot.pk).update(
                frozen=0, frozen_at=None, expires_at=F("expires_at") + (Now() - F("frozen_at"))
            )
        else:
            CreditLot.objects.filter(pk=lot.pk).update(frozen=F("frozen") - give)
        left -= give
    found.state = state
    Freeze.objects.filter(pk=found.pk).update(state=state, closed_at=Now())
    wallet.frozen -= found.amount
    wallet.next_expiry_at = _next_expiry(wallet)
    Wallet.objects.filter(pk=wallet.pk).update(
        frozen=wallet.frozen, next_expiry_at=wallet.next_expiry_at, updated_at=Now()
    )


def _free_lots(wallet: Wallet, source: Subject | None) -> Iterable[CreditLot]:
    """The source's lots with something free in them, by id."""
    if source is None:
        return ()
    of_source = Q(source_type=source[0], source_id=source[1])
    return CreditLot.objects.filter(
        of_source, wallet=wallet, exhausted_at__isnull=True, remaining__gt=F("frozen")
    ).order_by("pk")


def _freeze_lots(wallet: Wallet, source: Subject | None, amount: int) -> int:
    left = amount
    for lot in _free_lots(wallet, source):
        take = min(left, lot.remaining - lot.frozen)
        if not take:
            break
        CreditLot.objects.filter(pk=lot.pk).update(frozen=F("frozen") + take, frozen_at=Coalesce(F("frozen_at"), Now()))
        left -= take
    return amount - left


def _next_expiry(wallet: Wallet) -> datetime | None:
    live = CreditLot.objects.filter(wallet=wallet, exhausted_at__isnull=True, remaining__gt=F("frozen"))
    soonest: datetime | None = live.aggregate(soonest=Min("expires_at"))["soonest"]
    return soonest


def _take_from_lots(wallet: Wallet, source: Subject | None, amount: int) -> int:
    """Take up to `amount` from what is free in the source's lots, by id; returns what was there."""
    left = amount
    for lot in _free_lots(wallet, source):
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

"""Keeping out of reach what an open refund or dispute may take, and giving it back."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from django.db import transaction
from django.db.models import F, Min
from django.db.models.functions import Coalesce, Now

import audit
from billing.errors import HoldClosed, LedgerKeyMismatch
from billing.ledger.calls import Subject, area, known_unit, units
from billing.ledger.expiry import expire_due, lock, lock_of
from billing.models import CreditLot, Freeze, Wallet
from core.money import CREDIT


@dataclass(frozen=True, slots=True)
class Frozen:
    """`amount` of what was `wanted` is out of reach."""

    freeze_id: uuid.UUID
    amount: int
    wanted: int
    state: str


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
            end_freeze(found, wallet, Freeze.State.THAWED)
            expire_due(wallet)
            audit.record(
                f"{area(wallet.unit)}.thawed",
                (found.subject_type, found.subject_id),
                user=wallet.user_id,
                new={"amount": found.amount},
                metadata={"key": key, "unit": wallet.unit},
            )
        return Frozen(found.pk, found.amount, found.wanted, found.state)


def end_freeze(found: Freeze, wallet: Wallet, state: str) -> None:
    """Close an open freeze of a locked wallet and free its lots.

    Locks: the caller holds the wallet.
    Raises: HoldClosed when it has ended.
    """
    if found.state != Freeze.State.OPEN:
        raise HoldClosed(f"What {found.key} froze is {found.state}.")
    left = found.amount if wallet.unit == CREDIT else 0
    lots = CreditLot.objects.filter(
        wallet=wallet, source_type=found.source_type, source_id=found.source_id, frozen__gt=0
    ).order_by("pk")
    for lot in lots:
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


def free_lots(wallet: Wallet, source: Subject | None) -> Iterable[CreditLot]:
    """The source's lots with something free in them, by id."""
    if source is None:
        return ()
    return CreditLot.objects.filter(
        wallet=wallet,
        source_type=source[0],
        source_id=source[1],
        exhausted_at__isnull=True,
        remaining__gt=F("frozen"),
    ).order_by("pk")


def _freeze_lots(wallet: Wallet, source: Subject | None, amount: int) -> int:
    left = amount
    for lot in free_lots(wallet, source):
        take = min(left, lot.remaining - lot.frozen)
        if not take:
            break
        CreditLot.objects.filter(pk=lot.pk).update(frozen=F("frozen") + take, frozen_at=Coalesce(F("frozen_at"), Now()))
        left -= take
    return amount - left


def _next_expiry(wallet: Wallet) -> object:
    return CreditLot.objects.filter(wallet=wallet, exhausted_at__isnull=True, remaining__gt=F("frozen")).aggregate(
        soonest=Min("expires_at")
    )["soonest"]

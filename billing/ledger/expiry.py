"""Credits that end: by their time, or at once because what they came with has ended."""

from __future__ import annotations

import uuid

from django.db import connection, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

import audit
from billing.ledger.calls import Subject, asked_by
from billing.models import CreditLot, Wallet
from core.ids import new_id


def lock(wallets: QuerySet[Wallet]) -> list[Wallet]:
    """Lock the wallets' rows, by id, until the transaction ends."""
    return list(wallets.select_for_update(of=("self",), no_key=True).order_by("pk"))


def lock_of(user_id: uuid.UUID, kind: str, unit: str) -> Wallet:
    """Lock the person's wallet, opening it first if need be."""
    mine = Wallet.objects.filter(user_id=user_id, kind=kind, unit=unit)
    found = lock(mine)
    if not found:
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO billing_wallet (id, user_id, kind, unit, balance, held, frozen)"
                " VALUES (%s, %s, %s, %s, 0, 0, 0) ON CONFLICT (user_id, kind, unit) DO NOTHING",
                [new_id(), user_id, kind, unit],
            )
        found = lock(mine)
    return found[0]


def expire_due(wallet: Wallet, *, at_once: bool = False) -> int:
    """Take what is due from a locked wallet and refresh the instance; `at_once` looks even if nothing seems due.

    Locks: the caller holds the wallet.
    """
    before = wallet.balance or 0
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT e.balance, e.next_expiry_at FROM billing_wallet w, LATERAL ledger_expire_due(w, %s) e"
            " WHERE w.id = %s AND (%s OR w.next_expiry_at <= clock_timestamp())",
            [asked_by(), wallet.pk, at_once],
        )
        row = cursor.fetchone()
    if row is not None:
        wallet.balance, wallet.next_expiry_at = row
    return before - (wallet.balance or 0)


@audit.writes("credits")
def expire(*, user_id: uuid.UUID) -> int:
    """Take the person's credits whose time is over, less what is frozen in them or held; the amount is returned.

    Idempotent: by state.
    Locks: the wallet.
    """
    with transaction.atomic():
        return sum(expire_due(wallet) for wallet in lock(Wallet.objects.filter(user_id=user_id, kind="credits")))


@audit.writes("credits")
def end_lots(*, user_id: uuid.UUID, source: Subject | None = None) -> int:
    """End the credits of one source, or all, now: what is free goes at once, what is held when it is released, what is
    frozen when it thaws. The amount that went at once is returned.

    Idempotent: by state.
    Locks: the wallet, then lots.
    """
    with transaction.atomic():
        wallets = lock(Wallet.objects.filter(user_id=user_id, kind="credits"))
        if not wallets:
            return 0
        [wallet] = wallets
        lots = CreditLot.objects.filter(wallet=wallet, exhausted_at__isnull=True).filter(
            Q(expires_at__isnull=True) | Q(expires_at__gt=Now())
        )
        if source is not None:
            lots = lots.filter(source_type=source[0], source_id=source[1])
        ended = [lot.pk for lot in lots]
        if ended:
            CreditLot.objects.filter(pk__in=ended).update(expires_at=Now())
        gone = expire_due(wallet, at_once=True)
        if ended:
            audit.record(
                "credits.ended",
                source or ("user", user_id),
                user=user_id,
                new={"lots": len(ended), "gone": gone, "balance": wallet.balance},
            )
        return gone


@audit.writes("credits")
def expire_next(*, after: uuid.UUID | None = None) -> Wallet | None:
    """Expire the next wallet that has something due, skipping those that are in use; None when none is left.

    One wallet a transaction, so that no two sweeps can wait for each other.

    Idempotent: by state.
    Locks: the wallet.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT id FROM billing_wallet WHERE next_expiry_at <= clock_timestamp()"
                " AND (%s::uuid IS NULL OR id > %s)"
                " ORDER BY id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED",
                [after, after],
            )
            row = cursor.fetchone()
        if row is None:
            return None
        wallet = Wallet.objects.get(pk=row[0])
        expire_due(wallet)
        return wallet


def expire_all(*, at_most: int = 10_000) -> int:
    """Expire wallet after wallet until none is due; how many were looked at is returned.

    Idempotent: by state.
    """
    seen, last = 0, None
    while seen < at_most and (wallet := expire_next(after=last)) is not None:
        seen, last = seen + 1, wallet.pk
    return seen

"""Everything that a person leaves behind."""

from __future__ import annotations

import uuid

from django.db import connection, transaction

import audit
from billing.ledger import posting
from billing.ledger.calls import area
from billing.ledger.expiry import end_lots, expire_due, lock
from billing.models import HouseKind, LedgerTransaction, Wallet
from core.ids import new_id
from core.money import CREDIT


@audit.writes("wallet")
def forfeit(*, user_id: uuid.UUID, memo: str = "erasure") -> dict[str, int]:
    """Post what is available in each of the person's wallets as expired; credits that are held or frozen end with
    their hold or freeze. What went at once is returned by unit.

    Idempotent: by state, so each call takes what has become free since.
    Locks: the wallets, by id, then lots.
    """
    gone: dict[str, int] = {}
    with transaction.atomic():
        for wallet in lock(Wallet.objects.filter(user_id=user_id)):
            expire_due(wallet)
            amount = wallet.available
            if amount <= 0:
                continue
            if wallet.unit == CREDIT:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT ledger_burn(%s, %s)", [wallet.pk, amount])
            subject = ("user", user_id)
            posting.post(
                kind=LedgerTransaction.Kind.EXPIRY, key=f"{memo}:{wallet.pk}:{new_id()}", subject=subject,
                actor_id=None, memo=memo, wallet=wallet, amount=-amount,
                other=posting.house(HouseKind.EXPIRED, wallet.unit),
            )  # fmt: skip
            audit.record(
                f"{area(wallet.unit)}.forfeited",
                subject,
                user=user_id,
                new={"amount": amount, "unit": wallet.unit, "balance": wallet.balance},
                metadata={"why": memo},
            )
            gone[wallet.unit] = gone.get(wallet.unit, 0) + amount
        end_lots(user_id=user_id)
    return gone

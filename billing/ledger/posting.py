"""Writing one posting by hand under the wallet's lock, for the operations that are not one plpgsql function."""

from __future__ import annotations

import uuid

from django.db import connection

from billing.errors import LedgerKeyMismatch
from billing.ledger.calls import Subject, call
from billing.models import LedgerEntry, LedgerTransaction, Wallet
from core.context import current


def house(kind: str, unit: str) -> uuid.UUID:
    """Our own wallet of this kind and unit."""
    [found] = call("SELECT ledger_house(%s, %s)", (kind, unit))
    assert isinstance(found, uuid.UUID)
    return found


def written(key: str, kind: str, wallet: Wallet, subject: Subject) -> LedgerEntry | None:
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


def post(
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
    """Move a locked wallet's balance and write both entries; the transaction's id is returned.

    Locks: the caller holds the wallet.
    Raises: LedgerKeyMismatch when another wallet took the key meanwhile.
    """
    wallet.balance = (wallet.balance or 0) + amount
    [done] = call(
        "SELECT ledger_write(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (kind, key, wallet.unit, *subject, actor_id or current().actor_id, memo,
         wallet.pk, amount, wallet.balance, other, other_after),
    )  # fmt: skip
    if done is None:
        raise LedgerKeyMismatch(f"{key} is in the books with other figures.")
    assert isinstance(done, uuid.UUID)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE billing_wallet SET balance = %s, updated_at = clock_timestamp() WHERE id = %s",
            [wallet.balance, wallet.pk],
        )
    return done

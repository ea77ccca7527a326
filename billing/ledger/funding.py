"""What brings money and credits in: wallets are opened, funded from a house wallet, and gateways' money is recorded."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import audit
from billing.errors import LedgerKeyMismatch
from billing.ledger.calls import Subject, asked_by, call, known_unit, units
from billing.models import CreditLot, HouseKind, LedgerTransaction
from core.context import current
from core.ids import new_id
from core.money import CREDIT

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser

# What everybody has from registration on; others are made when first funded.
FIRST_WALLETS = (("credits", CREDIT), ("primary", "NGN"), ("calls", "NGN"))


@dataclass(frozen=True, slots=True)
class Granted:
    """`repaid` of it went to debt at once; `balance` is what the wallet holds after both."""

    transaction_id: uuid.UUID
    balance: int
    repaid: int
    is_replay: bool


@dataclass(frozen=True, slots=True)
class Posted:
    transaction_id: uuid.UUID
    is_replay: bool


@audit.writes("wallet")
def open_wallets(*, user: AbstractBaseUser) -> None:
    """Open the wallets that everybody has, in the registering transaction.

    Idempotent: one wallet per user, kind and unit.
    """
    [opened] = call(
        "WITH opened AS ("
        " INSERT INTO billing_wallet (id, user_id, kind, unit, balance, held, frozen)"
        " VALUES (%s, %s, %s, %s, 0, 0, 0), (%s, %s, %s, %s, 0, 0, 0), (%s, %s, %s, %s, 0, 0, 0)"
        " ON CONFLICT (user_id, kind, unit) DO NOTHING RETURNING 1) SELECT count(*) FROM opened",
        [value for kind, unit in FIRST_WALLETS for value in (new_id(), user.pk, kind, unit)],
    )
    if opened:
        audit.record("wallet.opened", ("user", user.pk), user=user.pk, new={"wallets": FIRST_WALLETS})


@audit.writes("credits")
def grant(
    *,
    user_id: uuid.UUID,
    amount: int,
    category: str | None,
    key: str,
    subject: Subject,
    kind: str = LedgerTransaction.Kind.GRANT,
    house: str = HouseKind.ISSUED,
    source: Subject | None = None,
    expires_at: datetime | None = None,
    unit: str = CREDIT,
    wallet_kind: str = "credits",
    actor_id: uuid.UUID | None = None,
    memo: str = "",
) -> Granted:
    """Fund a wallet in full, then repay the person's debt in that unit out of it, unless it is promo.

    Credits come as a lot of `category` (paid, subscription, promo) from `source` (the subject if not told). Money has
    no lots: a top-up has category None and the gateway's wallet as `house` (`gateway_razorpay`).

    Idempotent: by key.
    Locks: the wallet, then the debts.
    Raises: LedgerKeyMismatch.
    """
    if (category is None) == (unit == CREDIT) or category not in (None, *CreditLot.Category.values):
        raise ValueError(f"a grant of {unit} cannot be of category {category!r}")
    status, transaction_id, balance, repaid, is_replay = call(
        "SELECT status, transaction_id, balance, repaid, is_replay"
        " FROM ledger_grant(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (user_id, wallet_kind, known_unit(unit), units(amount), category, kind, key, *subject, house, expires_at,
         *(source or subject), actor_id or current().actor_id, memo, asked_by()),
    )  # fmt: skip
    if status == "mismatch":
        raise LedgerKeyMismatch(f"{key} was granted with other figures.")
    return Granted(transaction_id, balance, repaid, is_replay)


@audit.writes("money")
def record_money(
    *,
    gateway: str,
    amount: int,
    currency: str,
    key: str,
    subject: Subject,
    kind: str = LedgerTransaction.Kind.PURCHASE,
    actor_id: uuid.UUID | None = None,
    memo: str = "",
) -> Posted:
    """Post money that came in through a gateway: from `gateway_<name>` to `sales`. Money that went back or was lost is
    of kind refund or clawback, and mirrored.

    Idempotent: by key.
    Units: `amount` positive, in the currency's minor unit.
    Raises: LedgerKeyMismatch; ValueError for a kind that is neither.
    """
    signs = {
        LedgerTransaction.Kind.PURCHASE: -1,
        LedgerTransaction.Kind.REFUND: 1,
        LedgerTransaction.Kind.CLAWBACK: 1,
    }
    sign = signs.get(LedgerTransaction.Kind(kind))
    if sign is None:
        raise ValueError(f"money does not move by {kind}")
    units(amount)
    status, transaction_id, is_replay = call(
        "SELECT status, transaction_id, is_replay FROM ledger_post_house(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (kind, key, known_unit(currency), *subject, actor_id or current().actor_id, memo,
         f"gateway_{gateway}", units(amount) if sign > 0 else -amount, HouseKind.SALES, asked_by()),
    )  # fmt: skip
    if status == "mismatch":
        raise LedgerKeyMismatch(f"{key} was recorded with other figures.")
    return Posted(transaction_id, is_replay)

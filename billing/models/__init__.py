from __future__ import annotations

from billing.models.books import BookCheck
from billing.models.grants import PromoSpending, SignUpGrant
from billing.models.ledger import (
    CreditLot,
    Debt,
    Freeze,
    Hold,
    HouseKind,
    LedgerEntry,
    LedgerTransaction,
    UserWalletKind,
    Wallet,
)

__all__ = [
    "BookCheck",
    "CreditLot",
    "Debt",
    "Freeze",
    "Hold",
    "HouseKind",
    "LedgerEntry",
    "LedgerTransaction",
    "PromoSpending",
    "SignUpGrant",
    "UserWalletKind",
    "Wallet",
]

"""Every movement of credits and money between wallets. Reading a balance never authorises anything; these do.

Use as `from billing import ledger`. Each operation happens once per `key`: the same key with the same figures answers
what happened then, with other figures it is LedgerKeyMismatch. Call them inside your own transaction.
"""

from __future__ import annotations

from billing.ledger.balances import Balance, balance
from billing.ledger.calls import Subject
from billing.ledger.corrections import Adjusted, adjust, transfer
from billing.ledger.expiry import end_lots, expire, expire_all, expire_next
from billing.ledger.forfeiture import forfeit
from billing.ledger.funding import Granted, Posted, grant, open_wallets, record_money
from billing.ledger.recovery import ClawedBack, Frozen, claw_back, freeze, thaw, waive
from billing.ledger.spending import Captured, Extended, Held, Released, capture, extend, hold, release, release_all

__all__ = [
    "Adjusted",
    "Balance",
    "Captured",
    "ClawedBack",
    "Extended",
    "Frozen",
    "Granted",
    "Held",
    "Posted",
    "Released",
    "Subject",
    "adjust",
    "balance",
    "capture",
    "claw_back",
    "end_lots",
    "expire",
    "expire_all",
    "expire_next",
    "extend",
    "forfeit",
    "freeze",
    "grant",
    "hold",
    "open_wallets",
    "record_money",
    "release",
    "release_all",
    "thaw",
    "transfer",
    "waive",
]

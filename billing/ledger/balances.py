"""The balance, as the hottest read wants it: one query, no model instances."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from billing.ledger.calls import call

_BALANCE = """
SELECT coalesce(max(balance), 0), coalesce(max(held), 0), coalesce(max(frozen), 0), coalesce((
    SELECT sum(remaining)::bigint FROM billing_debt WHERE user_id = %s AND unit = 'CREDIT' AND remaining > 0), 0)
FROM billing_wallet WHERE user_id = %s AND kind = 'credits' AND unit = 'CREDIT'
"""


@dataclass(frozen=True, slots=True)
class Balance:
    balance: int
    held: int
    frozen: int
    available: int
    debt: int


def balance(user_id: uuid.UUID) -> Balance:
    """The person's credits now. Authorises nothing: holding decides for itself."""
    total, held, frozen, debt = call(_BALANCE, (user_id, user_id))
    return Balance(total, held, frozen, total - held - frozen, debt)

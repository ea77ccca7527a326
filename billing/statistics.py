"""What users/me/statistics says of credits."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import connection

from billing import ledger, plans, totals
from core import clock
from core.ids import lowest_id

# Holds that were released never were entries: what did not succeed was not spent.
_LATELY = f"""
SELECT coalesce(-sum(e.amount), 0)::bigint
FROM billing_ledgerentry e JOIN billing_ledgertransaction t ON t.id = e.transaction_id
WHERE e.wallet_id = {totals.WALLET} AND e.transaction_id >= %(floor)s
    AND t.kind = 'spend' AND t.created_at > %(since)s
"""


def of(*, user: Any) -> dict[str, dict[str, Any]]:
    """Credits bought, spent, taken back with refunded money, and left; the plan (settings.ACCOUNT_STATISTICS).

    Four queries. Units: credits.
    """
    since = clock.now() - timedelta(days=30)
    with connection.cursor() as cursor:
        floor = lowest_id(since - timedelta(days=1))
        cursor.execute(_LATELY, {"user": user.pk, "since": since, "floor": floor})
        [spent_lately] = cursor.fetchone()
    credits = totals.of(user.pk)
    return {
        "credits": {
            "total_spent": credits.used,
            "total_purchased": credits.purchased,
            "total_refunded": credits.refunded,
            "current_balance": ledger.balance(user.pk).balance,
        },
        "usage": {"credits_spent_last_30_days": spent_lately},
        "account": {"plan": plans.code_of(user.pk)},
    }

"""What users/me/statistics says of credits."""

from __future__ import annotations

from typing import Any

from billing import ledger, plans
from billing.ledger.calls import call

# Holds that were released never were entries: what did not succeed was not spent.
_SUMS = """
SELECT
    coalesce(-sum(e.amount) FILTER (WHERE t.kind = 'spend'), 0)::bigint,
    coalesce(-sum(e.amount) FILTER (
        WHERE t.kind = 'spend' AND t.created_at > statement_timestamp() - interval '30 days'), 0)::bigint,
    coalesce(sum(e.amount) FILTER (WHERE t.kind = 'purchase'), 0)::bigint,
    coalesce(-sum(e.amount) FILTER (WHERE t.kind = 'clawback'), 0)::bigint
FROM billing_wallet w JOIN billing_ledgerentry e ON e.wallet_id = w.id
    JOIN billing_ledgertransaction t ON t.id = e.transaction_id
WHERE w.user_id = %s AND w.kind = 'credits' AND w.unit = 'CREDIT'
"""


def of(*, user: Any) -> dict[str, dict[str, Any]]:
    """Credits bought, spent, taken back with refunded money, and left; the plan (settings.ACCOUNT_STATISTICS).

    Three queries. Units: credits.
    """
    spent, spent_lately, purchased, refunded = call(_SUMS, (user.pk,))
    return {
        "credits": {
            "total_spent": spent,
            "total_purchased": purchased,
            "total_refunded": refunded,
            "current_balance": ledger.balance(user.pk).balance,
        },
        "usage": {"credits_spent_last_30_days": spent_lately},
        "account": {"plan": plans.code_of(user.pk)},
    }

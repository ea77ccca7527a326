"""A person's credits in all: what came and where it went.

Entries are never changed, and a wallet's are numbered under its lock: what was summed up to one stays true. It is kept
in Redis, so that each reading sums only what has come since.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import orjson
from django.db import connection

from core import redis

KEEP_S = 86_400


@dataclass(frozen=True, slots=True)
class Totals:
    """Every entry is in exactly one of `earned`, `used`, `refunded` and `lost`; `purchased` is a part of `earned`."""

    earned: int = 0
    purchased: int = 0
    used: int = 0
    refunded: int = 0
    lost: int = 0

    @property
    def net(self) -> int:
        """What is left: the balance."""
        return self.earned - self.used - self.refunded - self.lost


# By their day too (dashboard.figures). `net` is what the four leave.
SUMS = """
    coalesce(sum(e.amount) FILTER (WHERE e.amount > 0), 0)::bigint AS earned,
    coalesce(sum(e.amount) FILTER (WHERE e.amount > 0 AND t.kind = 'purchase'), 0)::bigint AS purchased,
    coalesce(-sum(e.amount) FILTER (WHERE e.amount < 0 AND t.kind = 'spend'), 0)::bigint AS used,
    coalesce(-sum(e.amount) FILTER (WHERE e.amount < 0 AND t.kind = 'clawback'), 0)::bigint AS refunded,
    coalesce(-sum(e.amount) FILTER (WHERE e.amount < 0 AND t.kind NOT IN ('spend', 'clawback')), 0)::bigint AS lost
"""
WALLET = "(SELECT id FROM billing_wallet WHERE user_id = %(user)s AND kind = 'credits' AND unit = 'CREDIT')"
# The kept sums are believed when the entry up to which they go is in this database: it may be another's backup.
_SINCE = f"""
SELECT {SUMS},
    EXISTS (
        SELECT FROM billing_ledgerentry
        WHERE id = %(upto)s AND wallet_id = {WALLET} AND transaction_id = %(transaction)s
    ) AS is_known,
    last.id AS upto, last.transaction_id::text AS transaction
FROM (SELECT 1) AS one
    LEFT JOIN LATERAL (
        SELECT id, transaction_id FROM billing_ledgerentry WHERE wallet_id = {WALLET} ORDER BY id DESC LIMIT 1
    ) AS last ON true
    LEFT JOIN billing_ledgerentry e ON e.wallet_id = {WALLET} AND e.id > %(upto)s
    LEFT JOIN billing_ledgertransaction t ON t.id = e.transaction_id
GROUP BY last.id, last.transaction_id
"""
_NOTHING: dict[str, Any] = {"upto": 0, "transaction": None, "sums": {}}


def of(user_id: UUID) -> Totals:
    """All the credits that somebody got, spent, gave back with their money or lost otherwise.

    One query; a second where what was kept is not of this database. Units: credits.
    """
    key = f"atelier:credits:{user_id}"
    kept = _kept(key)
    row = _since(user_id, kept)
    if kept["upto"] and not row["is_known"]:
        kept = _NOTHING
        row = _since(user_id, kept)
    found = Totals(**{name: kept["sums"].get(name, 0) + row[name] for name in asdict(Totals())})
    if row["upto"] not in (None, kept["upto"]):
        news = {"upto": row["upto"], "transaction": row["transaction"], "sums": asdict(found)}
        with suppress(redis.Error):
            redis.client().set(key, orjson.dumps(news), ex=KEEP_S)
    return found


def _kept(key: str) -> dict[str, Any]:
    try:
        found: Any = redis.client().get(key)
    except redis.Error:
        return _NOTHING
    kept: dict[str, Any] = orjson.loads(found) if found else _NOTHING
    return kept


def _since(user_id: UUID, kept: dict[str, Any]) -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute(_SINCE, {"user": user_id, "upto": kept["upto"], "transaction": kept["transaction"]})
        names = [column.name for column in cursor.description or ()]
        [row] = cursor.fetchall()
        return dict(zip(names, row, strict=True))

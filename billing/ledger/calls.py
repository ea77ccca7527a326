"""One round trip to a ledger function, and what every operation asks of its arguments."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import orjson
from psycopg.types.numeric import Int8

from core import context
from core.money import CREDIT, EXPONENTS
from core.sql import fetch

Subject = tuple[str, uuid.UUID]

# Far above anything sold and far below where sums of bigint could overflow.
LARGEST = 10**15


def call(sql: str, arguments: Sequence[Any]) -> tuple[Any, ...]:
    """Run one `SELECT … FROM ledger_…(…)` and return its only row."""
    found = fetch(sql, arguments)
    assert found is not None
    return found


def asked_by() -> str:
    """Who asks, for the audit row that a ledger function writes itself."""
    return _context_json(context.current())


@lru_cache(maxsize=256)
def _context_json(now: context.Context) -> str:
    told: dict[str, Any] = {
        "actor": now.actor_id,
        "on_behalf_of": now.on_behalf_of_id,
        "source": now.source,
        "request_id": now.request_id,
    }
    if now.ip or now.user_agent:
        # `detail` is what audit.trail.detail_hash hashes behind the salt.
        detail = orjson.dumps([now.ip, now.user_agent, {}], option=orjson.OPT_SORT_KEYS).decode()
        told |= {"ip": now.ip, "user_agent": now.user_agent, "detail": detail}
    return orjson.dumps(told).decode()


def units(amount: int) -> Int8:
    """The amount as PostgreSQL's bigint, whatever its size: else each size would be a prepared statement of its own.

    Raises: ValueError for what is not a positive whole number.
    """
    if type(amount) is not int or not 0 < amount <= LARGEST:
        raise ValueError(f"an amount is a whole number from 1 to {LARGEST}, not {amount!r}")
    return Int8(amount)


def known_unit(unit: str) -> str:
    """Raises: ValueError for a unit that core.money does not know."""
    if unit not in EXPONENTS:
        raise ValueError(f"unknown unit {unit!r}")
    return unit


def area(unit: str) -> str:
    """The first half of audit actions on a wallet of this unit, as ledger_audit has it."""
    return "credits" if unit == CREDIT else "wallet"

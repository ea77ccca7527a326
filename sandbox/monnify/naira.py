"""Naira with decimals on the wire, kobo in here; and Lagos time, which Monnify writes without a zone."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

from sandbox.monnify.errors import MonnifyError

LAGOS_S = 3600  # UTC+1, no summer time


def kobo(value: Any, name: str) -> int:
    """Raises: MonnifyError for what is no amount of naira with at most two decimals."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise MonnifyError(f"{name} must be a number")
    amount = Decimal(value) * 100
    if not amount.is_finite() or amount != amount.to_integral_value():
        raise MonnifyError(f"{name} has more than two decimals")
    return int(amount)


def text(amount: int) -> str:
    """As queries answer it."""
    return f"{amount // 100}.{amount % 100:02d}"


def number(amount: int) -> int | float:
    """As webhooks and lists tell it."""
    return amount // 100 if amount % 100 == 0 else amount / 100


def paid_on_in_queries(at: int) -> str:
    return time.strftime("%d/%m/%Y %I:%M:%S %p", time.gmtime(at + LAGOS_S))


def paid_on_in_webhooks(at: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S.0", time.gmtime(at + LAGOS_S))


def iso(at: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000+0000", time.gmtime(at))

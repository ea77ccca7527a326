"""Quotes: a signed word that a request costs so much for ten minutes. Nothing is stored."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from django.core import signing

from core import clock
from generation import operations
from generation.errors import QuoteExpired, QuoteMismatch
from generation.models import Operation

_SALT = "generation.quote"
LIFETIME = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Quote:
    """What was offered. `token` is what the client sends back."""

    operation: Operation
    price: int
    expires_at: datetime
    token: str


def _digest(operation: Operation, params: Mapping[str, Any]) -> str:
    priced = operations.priced_params(operation, params)
    return hashlib.sha256(orjson.dumps(priced, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def offer(*, user: Any, operation: Operation, params: Mapping[str, Any]) -> Quote:
    """Price the request for this person."""
    price = operations.price(operation, params)
    expires_at = (clock.now() + LIFETIME).replace(microsecond=0)
    said = {
        "u": str(user.pk),
        "o": operation.code,
        "d": _digest(operation, params),
        "p": price,
        "e": int(expires_at.timestamp()),
    }
    return Quote(operation, price, expires_at, signing.dumps(said, salt=_SALT, compress=True))


def honour(token: str, *, user: Any, operation: Operation, params: Mapping[str, Any]) -> int:
    """The price to charge: the quoted one, or today's where that is lower.

    Raises: QuoteMismatch when it was made for anything else, QuoteExpired.
    """
    try:
        said = signing.loads(token, salt=_SALT)
    except signing.BadSignature as error:
        raise QuoteMismatch from error
    if (said["u"], said["o"], said["d"]) != (str(user.pk), operation.code, _digest(operation, params)):
        raise QuoteMismatch
    if datetime.fromtimestamp(said["e"], UTC) < clock.now():
        raise QuoteExpired
    return min(int(said["p"]), operations.price(operation, params))

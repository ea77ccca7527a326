"""Identifiers: UUIDv7, made in Python, so that rows sort by birth and no round trip is needed."""

from __future__ import annotations

import uuid
from datetime import datetime

import uuid_utils
from uuid_utils.compat import uuid7


def new_id() -> uuid.UUID:
    """A fresh time-ordered UUID (RFC 9562, version 7)."""
    return uuid7()


def new_id_text() -> str:
    """As `new_id`, written out, at a sixth of the cost: for a million at once."""
    return str(uuid_utils.uuid7())


def lowest_id(moment: datetime) -> uuid.UUID:
    """The lowest that was made at that moment: ids of later ones are above it."""
    return uuid.UUID(int=int(moment.timestamp() * 1000) << 80)


def highest_id(moment: datetime) -> uuid.UUID:
    """The highest that was made at that moment: ids of former ones are below it."""
    return uuid.UUID(int=(int(moment.timestamp() * 1000) + 1 << 80) - 1)

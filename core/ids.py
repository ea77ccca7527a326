"""Identifiers: UUIDv7, made in Python, so that rows sort by birth and no round trip is needed."""

from __future__ import annotations

import uuid

from uuid_utils.compat import uuid7


def new_id() -> uuid.UUID:
    """A fresh time-ordered UUID (RFC 9562, version 7)."""
    return uuid7()

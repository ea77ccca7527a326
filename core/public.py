"""Answers that are the same for everybody, kept in Redis until what they show changes.

One name for what is shown together: whoever changes it calls `changed(name)`. Without Redis every answer is made from
the database.
"""

from __future__ import annotations

import functools
import hashlib
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from django.db import transaction

from core import redis

# Made anew after this, whatever happened: a change that Redis did not hear of shows by then.
KEEP_S = 60
# So long before its end one caller makes it anew while the others still take the kept one.
RENEWING_S = 10
MAX_WHICH = 300  # longer questions are nobody's front page


@dataclass(frozen=True, slots=True)
class Answer:
    """A body and its ETag, which names the body and nothing else."""

    body: bytes
    tag: str


def answer(name: str, which: str, make: Callable[[], bytes], *, keep_s: int = KEEP_S) -> Answer:
    """The kept answer to the question `which` about `name`, else a new one."""
    if len(which) > MAX_WHICH:
        return _tagged(make())
    try:
        key = f"atelier:public:{name}:{_edition(name)}:{which}"
        kept = _kept(key, keep_s)
    except redis.Error:
        return _tagged(make())
    if kept is None:
        kept = _tagged(make())
        with suppress(redis.Error):
            redis.client().set(key, f"{time.time()} {kept.tag}\n{kept.body.decode()}", ex=keep_s)
    return kept


def changed(name: str) -> None:
    """Drop every kept answer about `name` once the running transaction has committed."""
    transaction.on_commit(functools.partial(_forget, name), robust=True)


def _forget(name: str) -> None:
    with suppress(redis.Error):
        redis.client().delete(_edition_key(name))


def _edition_key(name: str) -> str:
    return f"atelier:public:{name}"


def _edition(name: str) -> str:
    """What is kept belongs to an edition: one made before a change and stored after it is never found again."""
    client, key = redis.client(), _edition_key(name)
    found: str | None = client.get(key)  # type: ignore[assignment]  # the client is not asynchronous
    if found is None:
        client.set(key, secrets.token_hex(8), nx=True)
        found = client.get(key)  # type: ignore[assignment]
    return found or secrets.token_hex(8)


def _kept(key: str, keep_s: int) -> Answer | None:
    client = redis.client()
    found: str | None = client.get(key)  # type: ignore[assignment]
    if found is None:
        return None
    head, _, body = found.partition("\n")
    made_at, _, tag = head.partition(" ")
    is_old = time.time() - float(made_at) > keep_s - RENEWING_S
    if is_old and client.set(f"{key}:making", "1", nx=True, ex=RENEWING_S):
        return None
    return Answer(body.encode(), tag)


def _tagged(body: bytes) -> Answer:
    return Answer(body, f'W/"{hashlib.sha256(body).hexdigest()[:32]}"')

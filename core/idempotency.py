"""Idempotency keys: the unique row that makes a repeated request one effect and one answer."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson
from django.db import connection, transaction
from django.db.models import Q
from django.db.models.functions import Now

from core.errors import IdempotencyInProgress, IdempotencyMismatch
from core.ids import new_id
from core.killpoints import reach
from core.locks import is_lock_timeout, lock_timeout
from core.models import IdempotencyKey

KEEP = timedelta(hours=24)
LEASE = timedelta(seconds=60)
WAIT_MS = 2000


@dataclass(frozen=True, slots=True)
class Stored:
    """The answer given the first time."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Claim:
    """A key that this request now works under. `answer` is set when the work was done before."""

    id: uuid.UUID
    subject_id: uuid.UUID | None = None
    answer: Stored | None = None

    def bind(self, subject_id: uuid.UUID) -> None:
        """Say what the request made, inside the transaction that makes it, so that the key resumes it."""
        self.subject_id = subject_id
        IdempotencyKey.objects.filter(pk=self.id).update(subject_id=subject_id)


def fingerprint(body: Any) -> bytes:
    """A digest of the parsed body, blind to key order and white space."""
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS, default=str)).digest()


def claim_in_transaction(*, user_id: uuid.UUID, method: str, route: str, key: str, digest: bytes) -> Claim:
    """Insert the key row inside the caller's transaction: row, effect and answer commit together or not at all.

    Locks: waits up to two seconds for a twin that is under way.
    Raises: IdempotencyInProgress, IdempotencyMismatch.
    """
    row_id = new_id()
    try:
        with lock_timeout(WAIT_MS):
            inserted = _insert(row_id, user_id, method, route, key, digest, leased=False)
    except Exception as error:
        if is_lock_timeout(error):
            raise IdempotencyInProgress(retry_after=2, charged="unknown") from error
        raise
    if inserted:
        return Claim(row_id)
    row = IdempotencyKey.objects.get(user_id=user_id, method=method, route=route, key=key)
    return _known(row, digest)


def claim_with_lease(*, user_id: uuid.UUID, method: str, route: str, key: str, digest: bytes) -> Claim:
    """Commit the key row before a gateway is called. After the lease, or an error, the same key takes it over.

    Raises: IdempotencyInProgress while the first request runs, IdempotencyMismatch.
    """
    with transaction.atomic():
        row_id = new_id()
        if _insert(row_id, user_id, method, route, key, digest, leased=True):
            claim = Claim(row_id)
        else:
            row = IdempotencyKey.objects.get(user_id=user_id, method=method, route=route, key=key)
            claim = _known(row, digest)
            if claim.answer is None:
                taken = (
                    IdempotencyKey.objects.filter(pk=row.pk, status=None)
                    .filter(Q(locked_until=None) | Q(locked_until__lt=Now()))
                    .update(locked_until=Now() + LEASE)
                )
                if not taken:
                    raise IdempotencyInProgress(retry_after=2, charged="unknown")
    reach("idempotency.claimed")
    return claim


def complete(claim: Claim, *, status: int, headers: dict[str, str], body: bytes) -> None:
    """Store the 2xx answer, so that the same key gets it again."""
    IdempotencyKey.objects.filter(pk=claim.id).update(status=status, headers=headers, body=body, locked_until=None)


def abandon(claim: Claim) -> None:
    """After an error: forget the key if nothing was made under it, else let the same key resume."""
    IdempotencyKey.objects.filter(pk=claim.id, subject_id=None, status=None).delete()
    IdempotencyKey.objects.filter(pk=claim.id, status=None).update(locked_until=None)


def is_known(*, user_id: uuid.UUID, method: str, route: str, key: str) -> bool:
    """Whether the key was used before and what it began, or answered, is kept."""
    rows = IdempotencyKey.objects.filter(user_id=user_id, method=method, route=route, key=key)
    return rows.filter(Q(status__isnull=False) | Q(subject_id__isnull=False)).exists()


def purge() -> int:
    """Drop keys older than a day. Returns how many."""
    return IdempotencyKey.objects.filter(created_at__lt=Now() - KEEP).delete()[0]


def _insert(
    row_id: uuid.UUID, user_id: uuid.UUID, method: str, route: str, key: str, digest: bytes, *, leased: bool
) -> bool:
    """One insert that loses quietly to a twin; an expired twin is replaced."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO core_idempotencykey AS k
                (id, user_id, method, route, key, fingerprint, headers, locked_until)
            VALUES (%(id)s, %(user)s, %(method)s, %(route)s, %(key)s, %(digest)s, '{}',
                    CASE WHEN %(leased)s THEN statement_timestamp() + %(lease)s::interval END)
            ON CONFLICT ON CONSTRAINT idempotency_key_once DO UPDATE
                SET id = excluded.id, fingerprint = excluded.fingerprint, headers = '{}', status = NULL, body = NULL,
                    subject_id = NULL, locked_until = excluded.locked_until, created_at = statement_timestamp()
                WHERE k.created_at < statement_timestamp() - %(keep)s::interval
            RETURNING id
            """,
            {
                "id": row_id,
                "user": user_id,
                "method": method,
                "route": route,
                "key": key,
                "digest": digest,
                "leased": leased,
                "lease": f"{LEASE.total_seconds()} seconds",
                "keep": f"{KEEP.total_seconds()} seconds",
            },
        )
        return cursor.fetchone() is not None


def _known(row: IdempotencyKey, digest: bytes) -> Claim:
    if bytes(row.fingerprint) != digest:
        raise IdempotencyMismatch
    answer = Stored(row.status, row.headers, bytes(row.body or b"")) if row.status else None
    return Claim(row.pk, row.subject_id, answer)

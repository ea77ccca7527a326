"""Writing the audit log: one statement, in the transaction of the change it tells of."""

from __future__ import annotations

import functools
import hashlib
import ipaddress
import re
import secrets
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import orjson
import structlog
from django.conf import settings
from django.db import connection, models, transaction

from core import context, sql

business = structlog.get_logger("business")

P = ParamSpec("P")
R = TypeVar("R")

Subject = models.Model | tuple[str, Any]

# Every function that says it writes: dotted name → entity. A test walks it.
WRITERS: dict[str, str] = {}

_recorded: ContextVar[list[str] | None] = ContextVar("audit_recorded", default=None)

_WRITE_SQL = re.compile(r'^\s*(INSERT INTO|UPDATE|DELETE FROM)\s+(?!"?(audit_|core_|notifications_|django_))', re.I)

_FACT = """
fact AS (
    INSERT INTO audit_auditlog (action, entity_type, entity_id, user_id, actor_id, on_behalf_of_id, source,
                                request_id, old, new, metadata, detail_hash)
    SELECT %(action)s, %(entity_type)s, %(entity_id)s, %(user)s::uuid, %(actor)s::uuid, %(on_behalf_of)s::uuid,
           %(source)s, %(request_id)s, %(old)s::jsonb, %(new)s::jsonb, %(metadata)s::jsonb, %(detail_hash)s::bytea
    {of}
    RETURNING id
)"""
_DETAIL = """
INSERT INTO audit_auditdetail (log_id, salt, ip, user_agent, personal)
SELECT id, %(salt)s::bytea, %(ip)s::inet, %(user_agent)s, %(personal)s::jsonb
FROM fact WHERE %(salt)s::bytea IS NOT NULL
"""
_INSERT = f"WITH {_FACT.format(of='')}, detail AS ({_DETAIL}) SELECT id FROM fact"
_INSERT_ALL = """
WITH told AS MATERIALIZED (
    SELECT * FROM unnest(%(entity_ids)s::text[], %(users)s::uuid[], %(olds)s::jsonb[], %(news)s::jsonb[],
                         %(metadatas)s::jsonb[], %(detail_hashes)s::bytea[], %(salts)s::bytea[],
                         %(on_behalf_ofs)s::uuid[])
        t (entity_id, user_id, old, new, metadata, detail_hash, salt, on_behalf_of_id)
), fact AS (
    INSERT INTO audit_auditlog (action, entity_type, entity_id, user_id, actor_id, on_behalf_of_id, source,
                                request_id, old, new, metadata, detail_hash)
    SELECT %(action)s, %(entity_type)s, entity_id, user_id, %(actor)s, on_behalf_of_id, %(source)s,
           %(request_id)s, old, new, metadata, detail_hash
    FROM told
    RETURNING id, detail_hash
)
INSERT INTO audit_auditdetail (log_id, salt, ip, user_agent, personal)
SELECT fact.id, told.salt, %(ip)s::inet, %(user_agent)s, '{}'
FROM fact JOIN told USING (detail_hash)
"""


_LAST_ASKED = """
SELECT actor_id, on_behalf_of_id, request_id FROM audit_auditlog
WHERE entity_type = %s AND entity_id = %s AND actor_id IS NOT NULL ORDER BY at DESC, id DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Fact:
    """One of many facts of the same action; its parts are those of `record`, and on whose behalf it was done if that
    is another's with each."""

    subject: Subject
    user: Any = None
    old: dict[str, Any] | None = None
    new: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    on_behalf_of_id: uuid.UUID | None = None


def detail_hash(salt: bytes, ip: str | None, user_agent: str, personal: dict[str, Any]) -> bytes:
    """What the row keeps of its detail. An address is hashed in one spelling, as an inet gives back its own."""
    if ip is not None:
        address = ipaddress.ip_address(ip)
        ip = str(getattr(address, "ipv4_mapped", None) or address)
    return hashlib.sha256(salt + orjson.dumps([ip, user_agent, personal], option=orjson.OPT_SORT_KEYS)).digest()


def _json(value: dict[str, Any] | None) -> str | None:
    return None if value is None else orjson.dumps(value, default=str).decode()


def record(
    action: str,
    subject: Subject,
    *,
    old: dict[str, Any] | None = None,
    new: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
    user: Any = None,
    actor_id: uuid.UUID | None = None,
    personal: dict[str, Any] | None = None,
) -> None:
    """Add one fact about `subject`, one round trip.

    `action` is `<entity>.<past verb>`. `user` (a row or an id) is whose object it is. Actor, address, request and
    source come from core.context. What identifies a person (e-mail, name) goes into `personal`, never elsewhere.
    """
    values = _values(action, subject, old, new, metadata, user, actor_id, personal)
    sql.fetch(_INSERT, values)
    _note(action, values, new)


def record_all(action: str, facts: Sequence[Fact]) -> None:
    """Add facts about many subjects of one kind, in one round trip."""
    told = [_values(action, f.subject, f.old, f.new, f.metadata, f.user, None, None) for f in facts]
    if not told:
        return
    columns = ("entity_id", "user", "old", "new", "metadata", "detail_hash", "salt")
    names = ("entity_ids", "users", "olds", "news", "metadatas", "detail_hashes", "salts")
    lists: dict[str, list[Any]] = {
        name: [values[column] for values in told] for name, column in zip(names, columns, strict=True)
    }
    lists["on_behalf_ofs"] = [fact.on_behalf_of_id or told[0]["on_behalf_of"] for fact in facts]
    with connection.cursor() as cursor:
        cursor.execute(_INSERT_ALL, told[0] | lists)
    for values, fact in zip(told, facts, strict=True):
        _note(action, values, fact.new)


@contextmanager
def continuing(subject: Subject, *, when: bool = True) -> Iterator[None]:
    """What the body does, in a worker, is on record as of whoever last asked for something about `subject`: the actor,
    on whose behalf, and the request. Where a person is acting already, or nobody has asked, nothing changes.
    """
    if not when or context.current().actor_id is not None or not (asked := sql.fetch(_LAST_ASKED, _named(subject))):
        yield
        return
    actor, on_behalf_of, request_id = asked
    with context.use(actor_id=actor, on_behalf_of_id=on_behalf_of, request_id=request_id):
        yield


def change(
    ctes: str,
    values: dict[str, Any],
    *,
    action: str,
    subject: Subject,
    metadata: dict[str, Any] | None = None,
    user: Any = None,
    actor_id: uuid.UUID | None = None,
) -> tuple[Any, ...] | None:
    """Change a row and add the fact about it in one statement, which needs no transaction around it.

    `ctes` are the statements of a WITH; the one called `change` returns at most one row, which is the answer. If it
    returns none nothing was changed, and there is no fact. For the few hot paths where round trips count.
    """
    with connection.cursor() as cursor:
        fact = _values(action, subject, None, None, metadata, user, actor_id, None)
        cursor.execute(
            f"WITH {ctes}, {_FACT.format(of='FROM change')}, detail AS ({_DETAIL}) SELECT * FROM change",
            values | fact,
        )
        row: tuple[Any, ...] | None = cursor.fetchone()
    if row is not None:
        _note(action, fact, metadata)
    return row


def _values(
    action: str,
    subject: Subject,
    old: dict[str, Any] | None,
    new: dict[str, Any] | None,
    metadata: dict[str, Any] | None,
    user: Any,
    actor_id: uuid.UUID | None,
    personal: dict[str, Any] | None,
) -> dict[str, Any]:
    now = context.current()
    entity_type, entity_id = _named(subject)
    salt = secrets.token_bytes(16) if now.ip or now.user_agent or personal else None
    personal = personal or {}
    return {
        "action": action,
        "entity_type": entity_type,
        "entity_id": entity_id,
        "user": getattr(user, "pk", user),
        "actor": actor_id or now.actor_id,
        "on_behalf_of": now.on_behalf_of_id,
        "source": now.source,
        "request_id": now.request_id,
        "old": _json(old),
        "new": _json(new),
        "metadata": _json(metadata or {}),
        "detail_hash": detail_hash(salt, now.ip, now.user_agent, personal) if salt else None,
        "salt": salt,
        "ip": now.ip,
        "user_agent": now.user_agent,
        "personal": _json(personal),
    }


def _named(subject: Subject) -> tuple[str, str]:
    if isinstance(subject, models.Model):
        return subject._meta.model_name or "", str(subject.pk)
    return subject[0], str(subject[1])


def _note(action: str, fact: dict[str, Any], told: dict[str, Any] | None) -> None:
    """Tell the writers' test, and once it has committed the log: which, whose, and the figures, never a text."""
    seen = _recorded.get()
    if seen is not None:
        seen.append(action)
    figures = {name: value for name, value in (told or {}).items() if isinstance(value, int)}
    say = functools.partial(
        business.info,
        action,
        subject=f"{fact['entity_type']}:{fact['entity_id']}",
        user=str(fact["user"]) if fact["user"] else None,
        **({"figures": figures} if figures else {}),
    )
    transaction.on_commit(say, robust=True)


class AuditMissing(AssertionError):
    """A function that says it writes changed a table and left no audit row."""


def writes(entity: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Mark a public topic function that changes `entity`. Under test, a change without an audit row fails.

    Raises: AuditMissing, only when ENVIRONMENT=test.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        WRITERS[f"{function.__module__}.{function.__qualname__}"] = entity
        if settings.ENVIRONMENT != "test":
            return function

        @functools.wraps(function)
        def watched(*args: P.args, **kwargs: P.kwargs) -> R:
            wrote: list[str] = []

            def watch(execute: Any, sql: str, params: Any, many: bool, info: Any) -> Any:
                answer = execute(sql, params, many, info)
                # A conditional update that matched no row has changed nothing: another has decided.
                if _WRITE_SQL.match(sql) and info["cursor"].rowcount != 0:
                    wrote.append(sql[:120])
                return answer

            outer = _recorded.get()
            seen: list[str] = []
            token = _recorded.set(seen)
            try:
                with connection.execute_wrapper(watch):
                    result = function(*args, **kwargs)
            finally:
                _recorded.reset(token)
                if outer is not None:
                    outer.extend(seen)
            if wrote and not seen:
                raise AuditMissing(f"{function.__module__}.{function.__qualname__} wrote without audit: {wrote[0]}")
            return result

        return watched

    return decorate

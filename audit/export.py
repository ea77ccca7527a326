"""The sealed log as lines of JSON that prove themselves: docs/verify_audit_export.py needs nothing else.

Each line holds the very text that was hashed, after its hash as the database has it. After each seal stand its rows, in
their order; one that is missing leaves a line that says so. After the last seal come the rows not yet sealed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import orjson
from django.db import connection, transaction

from audit.sealing import LEAF, ROW_TEXT, SEAL_TEXT

_PAGE = 1000
_SEALS = f"""
SELECT s.number, encode(s.hash, 'hex'), {SEAL_TEXT}, s.until_at::text, s.until_id
FROM audit_seal s WHERE s.number > %s ORDER BY s.number LIMIT {_PAGE}
"""
_DETAIL = "encode(a.detail_hash, 'hex'), encode(d.salt, 'hex'), host(d.ip), d.user_agent, d.personal::text"
_ROWS = f"""
SELECT m.id, encode(m.leaf, 'hex'), CASE WHEN a.id IS NOT NULL THEN {ROW_TEXT} END, {_DETAIL}
FROM audit_seal s
CROSS JOIN LATERAL unnest(s.members, s.leaves) WITH ORDINALITY m (id, leaf, place)
LEFT JOIN audit_auditlog a ON a.id = m.id
LEFT JOIN audit_auditdetail d ON d.log_id = a.id
WHERE s.number = %s ORDER BY m.place
"""
_REST = f"""
SELECT a.id, encode({LEAF}, 'hex'), {ROW_TEXT}, {_DETAIL}, a.at::text
FROM audit_auditlog a LEFT JOIN audit_auditdetail d ON d.log_id = a.id
WHERE (a.at, a.id) > (%s, %s) ORDER BY a.at, a.id LIMIT {_PAGE}
"""


def lines(*, with_details: bool = False) -> Iterator[str]:
    """Every seal and row over one REPEATABLE READ READ ONLY snapshot. `with_details` tells the personal parts, too."""
    is_nested = connection.in_atomic_block
    with nullcontext() if is_nested else transaction.atomic(), connection.cursor() as cursor:
        if not is_nested:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        last, mark = 0, ["-infinity", 0]
        while seals := _all(cursor, _SEALS, [last]):
            for number, hash, text, *until in seals:
                yield f'{{"hash": "{hash}", "seal": {text}}}'
                for row in _all(cursor, _ROWS, [number]):
                    yield from _row(with_details, *row)
                last, mark = number, until
        while rows := _all(cursor, _REST, mark):
            for *row, at in rows:
                yield from _row(with_details, *row)
                mark = [at, row[0]]


def _all(cursor: Any, sql: str, parameters: list[Any]) -> list[Any]:
    cursor.execute(sql, parameters)
    return list(cursor.fetchall())


def _row(
    with_details: bool,
    row_id: int,
    leaf: str,
    text: str | None,
    detail_hash: str | None,
    salt: str | None,
    ip: str | None,
    user_agent: str,
    personal: str,
) -> Iterator[str]:
    if text is None:
        yield f'{{"hash": "{leaf}", "removed": {{"id": {row_id}}}}}'
        return
    yield f'{{"hash": "{leaf}", "row": {text}}}'
    if with_details and salt is not None:
        detail = {"row": row_id, "salt": salt, "ip": ip, "user_agent": user_agent, "personal": orjson.loads(personal)}
        yield f'{{"hash": "{detail_hash}", "detail": {orjson.dumps(detail).decode()}}}'

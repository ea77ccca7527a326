"""Erasing the personal parts of the log. The rows keep their hashes: what is gone is seen as erased, not as changed."""

from __future__ import annotations

import uuid

from django.db import connection


def forget(user_id: uuid.UUID) -> int:
    """Delete the details of every row about the person or by them, in the caller's transaction. Answers how many.

    Idempotent: what is gone is gone.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM audit_auditdetail WHERE log_id IN ("
            " SELECT id FROM audit_auditlog WHERE user_id = %s"
            " UNION SELECT id FROM audit_auditlog WHERE actor_id = %s)",
            [user_id, user_id],
        )
        return int(cursor.rowcount)

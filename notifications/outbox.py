"""Putting mail into the outbox."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection

from core import jobs
from core.ids import new_id
from notifications import mails
from notifications.models import Mail

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser


def enqueue(
    name: str,
    *,
    cause: str,
    context: dict[str, Any],
    user: AbstractBaseUser | None = None,
    to: str | None = None,
) -> Mail | None:
    """Queue a mail in the caller's transaction; it leaves after the commit, or never if that rolls back.

    Answers None when this cause already has its mail.

    Idempotent: one mail per cause.
    Enqueues: notifications.deliver
    Raises: LookupError, ValueError for a mail that could not be rendered or has no address.
    """
    mails.check(name, context)
    to = to or (getattr(user, "email", "") if user is not None else "")
    if not to:
        raise ValueError(f"mail {name!r} has no address")

    # In one statement: a twin in flight makes it wait for that commit, and no savepoint is lost on the conflict.
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO notifications_mail (id, cause, name, user_id, "to", context, state, attempts, subject,
                                            provider_message_id, error_code, error)
            VALUES (%s, %s, %s, %s, %s, %s, 'queued', 0, '', '', '', '')
            ON CONFLICT (cause) DO NOTHING
            RETURNING id
            """,
            [new_id(), cause, name, user.pk if user else None, to, json.dumps(context, cls=DjangoJSONEncoder)],
        )
        row = cursor.fetchone()
    if row is None:
        return None
    jobs.wake("notifications.deliver")
    return Mail.objects.get(pk=row[0])

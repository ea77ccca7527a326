"""Putting mail into the outbox."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, transaction
from django.db.models.functions import Now

import audit
from core import jobs
from core.ids import new_id
from notifications import mails
from notifications.models import Mail, MailState

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser


# Where the address of an erased person leads: a name that no resolver knows (RFC 2606).
NOBODY = "erased.invalid"


def enqueue(
    name: str,
    *,
    cause: str,
    context: dict[str, Any],
    user: AbstractBaseUser | None = None,
    to: str | None = None,
) -> Mail | None:
    """Queue a mail in the caller's transaction; it leaves after the commit, or never if that rolls back.

    Answers None when this cause already has its mail, or when the person has been erased.

    Idempotent: one mail per cause.
    Enqueues: notifications.deliver
    Raises: LookupError, ValueError for a mail that could not be rendered or has no address.
    """
    mails.check(name, context)
    to = to or (getattr(user, "email", "") if user is not None else "")
    if not to:
        raise ValueError(f"mail {name!r} has no address")
    if to.endswith(f"@{NOBODY}"):
        return None

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


@audit.writes("mail")
def withdraw(user_id: uuid.UUID) -> int:
    """Take back the person's mails that have not begun to leave, in the caller's transaction. Answers how many.

    Idempotent: by state.
    Locks: the mails, by id; one that a worker has just claimed leaves.
    """
    queued = Mail.objects.filter(user_id=user_id, state=MailState.QUEUED)
    ids = list(queued.select_for_update(no_key=True).order_by("pk").values_list("pk", flat=True))
    if ids:
        Mail.objects.filter(pk__in=ids).update(
            state=MailState.SUPPRESSED, error_code="withdrawn", error="Its reader is being erased."
        )
        audit.record("email.withdrawn", ("user", user_id), user=user_id, metadata={"mails": ids})
    return len(ids)


@audit.writes("mail")
def forget(user_id: uuid.UUID) -> bool:
    """Forget whom the person's mails went to and what they said; answers whether none is left to send.

    Idempotent: by state.
    """
    mine = Mail.objects.filter(user_id=user_id)
    with transaction.atomic():
        over = mine.exclude(state__in=[MailState.QUEUED, MailState.SENDING])
        count = over.exclude(to=f"{user_id}@{NOBODY}").update(
            to=f"{user_id}@{NOBODY}", context={}, subject="", error="", purged_at=Now()
        )
        if count:
            audit.record("email.forgotten", ("user", user_id), user=user_id, metadata={"count": count})
    return not mine.filter(state__in=[MailState.QUEUED, MailState.SENDING]).exists()

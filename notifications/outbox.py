"""Putting mail into the outbox."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, transaction
from django.db.models.functions import Now

import audit
from core import context, jobs
from core.errors import Conflict
from core.ids import new_id
from notifications import mails
from notifications.models import Mail, MailEvent, MailState, Suppression

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser


# Where the address of an erased person leads: a name that no resolver knows (RFC 2606).
NOBODY = "erased.invalid"
# What the cause of a mail that is sent again begins with; the other's id follows.
AGAIN = "again:"
MANY = 500  # are sent again at once, at most


@dataclass(frozen=True, slots=True)
class Letter:
    """One of many mails of the same name."""

    cause: str
    user_id: uuid.UUID | None
    to: str
    context: dict[str, Any]


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
    to = to or str(getattr(user, "email", ""))
    made = enqueue_all(name, [Letter(cause, user.pk if user else None, to, context)])
    return Mail.objects.get(pk=made[0]) if made else None


def enqueue_all(name: str, letters: Sequence[Letter]) -> list[uuid.UUID]:
    """As `enqueue` for many, in one round trip. Answers the ids of those that are new."""
    rows = []
    for letter in letters:
        mails.check(name, letter.context)
        if not letter.to:
            raise ValueError(f"mail {name!r} has no address")
        if not letter.to.endswith(f"@{NOBODY}"):
            context = json.dumps(letter.context, cls=DjangoJSONEncoder)
            rows.append((new_id(), letter.cause, letter.user_id, letter.to, context))
    if not rows:
        return []

    # In one statement: a twin in flight makes it wait for that commit, and no savepoint is lost on the conflict.
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO notifications_mail (id, cause, name, user_id, "to", context, state, attempts, subject,
                                            provider_message_id, error_code, error)
            SELECT id, cause, %s, user_id, "to", context, 'queued', 0, '', '', '', ''
            FROM unnest(%s::uuid[], %s::text[], %s::uuid[], %s::text[], %s::jsonb[])
                letter (id, cause, user_id, "to", context)
            ORDER BY cause
            ON CONFLICT (cause) DO NOTHING
            RETURNING id
            """,
            [name, *(list(column) for column in zip(*rows, strict=True))],
        )
        made = [row[0] for row in cursor.fetchall()]
    if made:
        jobs.wake("notifications.deliver")
    return made


def why_not_again(mail: Mail) -> str:
    """Why staff cannot send this mail once more, in words; empty when they can."""
    if mail.state in (MailState.QUEUED, MailState.SENDING, MailState.DEFERRED):
        return "It is still on its way."
    if mail.purged_at is not None or mail.name not in mails.TEMPLATES:
        return "What it said is forgotten."
    if mails.TEMPLATES[mail.name].leads_once:
        return "Its link works once, for a while; a new one has to be asked for."
    if mail.error_code == "withdrawn":
        return "Its reader has left."
    try:
        mails.check(mail.name, mail.context)
    except ValueError:
        return "What it said fits its template no more."
    return ""


@audit.writes("mail")
def resend(mail: Mail, *, actor: AbstractBaseUser, reason: str) -> Mail:
    """Queue once more what a mail said: to where its reader is now, or to where it went if it had no other.

    Idempotent: a mail is resent once; what came of that can be resent in its turn.
    Locks: the mail.
    Enqueues: notifications.deliver
    Raises: Conflict for one that cannot be.
    """
    with transaction.atomic():
        mail = Mail.objects.select_for_update(of=("self",), no_key=True).select_related("user").get(pk=mail.pk)
        if why := why_not_again(mail):
            raise Conflict(why)
        if (earlier := Mail.objects.filter(resends=mail).first()) is not None:
            return earlier
        again = enqueue(mail.name, cause=f"{AGAIN}{mail.pk}", context=mail.context, user=mail.user, to=_where_now(mail))
        if again is None:
            raise Conflict("Its reader has left.")
        Mail.objects.filter(pk=again.pk).update(resends=mail)
        audit.record(
            "email.resent", mail, metadata={"as": again.pk, "reason": reason}, user=mail.user_id, actor_id=actor.pk
        )
    return again


@audit.writes("mail")
def resend_dead(ids: Sequence[uuid.UUID], *, actor: AbstractBaseUser, reason: str) -> int:
    """As `resend` for many dead letters, MANY at most; what cannot be sent again stays. Answers how many are queued.

    Idempotent: as `resend`. Locks: the mails, by id. Enqueues: notifications.deliver
    """
    queued = 0
    with transaction.atomic():
        dead = Mail.objects.dead().filter(pk__in=list(ids)[:MANY]).select_related("user").order_by("pk")
        by_name: dict[str, list[Mail]] = {}
        for mail in dead.select_for_update(of=("self",), no_key=True):
            if not why_not_again(mail):
                by_name.setdefault(mail.name, []).append(mail)
        for name, found in by_name.items():
            letters = [Letter(f"{AGAIN}{mail.pk}", mail.user_id, _where_now(mail), mail.context) for mail in found]
            again = _tie(enqueue_all(name, letters))
            queued += len(again)
            facts = [
                audit.Fact(
                    mail,
                    user=mail.user_id,
                    metadata={"as": again[mail.pk], "reason": reason},
                    on_behalf_of_id=mail.user_id,
                )
                for mail in found
                if mail.pk in again
            ]
            with context.use(actor_id=actor.pk):
                audit.record_all("email.resent", facts)
    return queued


def _where_now(mail: Mail) -> str:
    """What tells a former mailbox that it is one must go there; else where its reader is now."""
    return mail.to if mail.user is None or mail.name == "email-changed" else getattr(mail.user, "email", mail.to)


def _tie(made: Sequence[uuid.UUID]) -> dict[uuid.UUID, uuid.UUID]:
    """Tie new mails to those that they send again, which their causes name. Answers what each of those went as."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE notifications_mail SET resends_id = substr(cause, %s)::uuid WHERE id = ANY(%s::uuid[])
            RETURNING resends_id, id
            """,
            [len(AGAIN) + 1, list(made)],
        )
        return dict(cursor.fetchall())


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
        # Only where they were: anybody may have entered the address that a confirmation went to.
        Suppression.objects.filter(email__in=mine.exclude(name="confirm-email").values("to")).delete()
        MailEvent.objects.filter(mail__user_id=user_id).exclude(words="").update(words="")
        over = mine.exclude(state__in=[MailState.QUEUED, MailState.SENDING])
        count = over.exclude(to=f"{user_id}@{NOBODY}").update(
            to=f"{user_id}@{NOBODY}", context={}, subject="", error="", purged_at=Now()
        )
        if count:
            audit.record("email.forgotten", ("user", user_id), user=user_id, metadata={"count": count})
    return not mine.filter(state__in=[MailState.QUEUED, MailState.SENDING]).exists()

"""What becomes of a mail after the sender took it, by the sender's word: its state only gets better known."""

from __future__ import annotations

import uuid

import structlog
from django.db import transaction

import audit
from inbox.deliveries import Outcome
from notifications import preferences, suppressions
from notifications.mails import OPTIONAL
from notifications.models import TRANSITIONS, EventKind, Mail, MailEvent, MailState, SuppressionReason
from notifications.outbox import NOBODY
from notifications.sender import Event

log = structlog.get_logger("mail")

_STATES = {
    EventKind.DELIVERED: MailState.DELIVERED,
    EventKind.OPENED: MailState.DELIVERED,  # whoever opens it has it
    EventKind.DEFERRED: MailState.DEFERRED,
    EventKind.BOUNCED: MailState.BOUNCED,
    EventKind.COMPLAINED: MailState.COMPLAINED,
    EventKind.REJECTED: MailState.FAILED,
}


@audit.writes("mail")
def note(event: Event) -> Outcome:
    """Write down one event and what follows from it: the mail's state, and whether its address gets more mail.

    Idempotent: by mail, kind and time. In whatever order events come, the most telling one stays.
    Locks: the mail.
    """
    with transaction.atomic():
        mail = _find(event)
        # One that is still on its way has beaten our own commit.
        if mail is None or mail.state in (MailState.QUEUED, MailState.SENDING):
            return Outcome.UNMATCHED
        _, is_new = MailEvent.objects.get_or_create(
            mail=mail, kind=event.kind, at=event.at or mail.created_at, defaults={"words": event.words}
        )
        if is_new:
            _move(mail, event)
            _stop_writing(mail, event)
    return Outcome.PROCESSED


def _find(event: Event) -> Mail | None:
    mails = Mail.objects.select_for_update(of=("self",), no_key=True)
    try:
        found = mails.filter(pk=uuid.UUID(event.mail_id)).first()
    except ValueError:
        found = None
    if found is None and event.message_id:
        found = mails.filter(provider_message_id=event.message_id).order_by("pk").first()
    return found


def _move(mail: Mail, event: Event) -> None:
    state = _STATES.get(event.kind)
    if state is None or state not in TRANSITIONS[mail.state]:
        return
    if mail.state == MailState.FAILED and mail.error_code != "outcome_unknown":
        return  # it never left us
    old, mail.state = mail.state, state
    has_arrived = state in (MailState.DELIVERED, MailState.COMPLAINED)
    mail.error_code, mail.error = ("", "") if has_arrived else (event.kind.value, event.words)
    mail.sent_at = mail.sent_at or event.at
    mail.save(update_fields=["state", "error_code", "error", "sent_at"])
    audit.record(
        f"email.{state.value}",
        mail,
        old={"state": old},
        new={"state": state.value},
        metadata={"name": mail.name},
        user=mail.user_id,
        personal={"words": event.words},
    )
    log.info("mail_tracked", mail=str(mail.pk), name=mail.name, state=state.value)


def _stop_writing(mail: Mail, event: Event) -> None:
    if mail.to.endswith(f"@{NOBODY}"):
        return
    if event.kind == EventKind.BOUNCED and event.is_final:
        suppressions.add(mail.to, SuppressionReason.BOUNCED, words=event.words, mail=mail)
    elif event.kind == EventKind.COMPLAINED:
        suppressions.add(mail.to, SuppressionReason.COMPLAINED, words=event.words, mail=mail)
    elif event.kind == EventKind.UNSUBSCRIBED and mail.user_id and mail.name in OPTIONAL:
        preferences.change(mail.user_id, {mail.name: False})

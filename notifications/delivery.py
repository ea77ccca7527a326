"""Sending what is in the outbox.

At most once per cause. A mail is claimed by a lease, and marked as handed over before the server may get a byte
of it. A worker that dies before the mark is repeated; one that dies after it is not, because SMTP has no way to ask
whether the server took the message: such a mail ends as failed with `outcome_unknown`, for people to see.
Every mail here tells of something that the product also shows or can send anew, so a doubled one does more harm
than a rare lost one. The Message-ID comes from the row, so what is doubled outside can still be recognised.
"""

from __future__ import annotations

import time
from datetime import timedelta
from email.utils import parseaddr
from typing import Any

import structlog
from django.conf import settings
from django.core.mail import EmailMultiAlternatives, get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.db import connection as database
from django.db import transaction
from django.db.models.functions import Now

import audit
from core import jobs
from core.ids import new_id
from core.killpoints import reach
from notifications import preferences, suppressions
from notifications.failures import Failure, classify, is_final
from notifications.models import Mail, MailState, SuppressionReason
from notifications.rendering import Rendered, render

log = structlog.get_logger("mail")

BATCH = 25
RUN_FOR_S = 30.0
# Long enough to connect and log in; one that takes longer loses its claim before it hands anything over.
LEASE = timedelta(seconds=60)
HAND_OVER_LEASE = timedelta(minutes=3)
# 15 s, 30 s, 1 min … 2 h, 2 h: about a day in all.
MAX_ATTEMPTS = 20
FIRST_RETRY = timedelta(seconds=15)
LONGEST_RETRY = timedelta(hours=2)
KEEP_DAYS = 90
_NOWHERE = "django.core.mail.backends.dummy.EmailBackend"
_SMTP = "django.core.mail.backends.smtp.EmailBackend"


def deliver_due() -> int:
    """Send what is due, one mail after the other over one connection. Answers how many were claimed.

    Idempotent: every mail is claimed by one worker at a time.
    Enqueues: notifications.deliver, when more is left than one run should take.
    """
    if settings.EMAIL_BACKEND == _NOWHERE:
        log.warning("mail_not_configured", hint="Set EMAIL_URL; until then mail stays in the queue.")
        return 0
    recover_lapsed()
    until = time.monotonic() + RUN_FOR_S
    server = open_backend()
    claimed = 0
    try:
        while (mail := _claim()) is not None:
            reach("notifications.claimed")
            claimed += 1
            with audit.continuing(("mail", mail.resends_id), when=mail.resends_id is not None):
                goes_on = _deliver(mail, server)
            if not goes_on:
                break
            if claimed >= BATCH or time.monotonic() > until:
                jobs.wake("notifications.deliver")
                break
    finally:
        _close(server)
    return claimed


def open_backend() -> BaseEmailBackend:
    """The configured mail backend; for plain SMTP ours, which can tell how far a failed sending came."""
    path = "notifications.smtp.EmailBackend" if settings.EMAIL_BACKEND == _SMTP else settings.EMAIL_BACKEND
    backend: BaseEmailBackend = get_connection(path, fail_silently=False)
    return backend


def _close(server: BaseEmailBackend) -> None:
    try:
        server.close()
    except Exception as error:
        # Everything that matters was answered before; a server that hangs up first is no news.
        log.debug("mail_connection_close_failed", error=type(error).__name__)


def _claim() -> Mail | None:
    # In one statement, so that the row is locked for no longer than it takes to write the lease.
    rows = Mail.objects.raw(
        """
        UPDATE notifications_mail
        SET state = 'sending', lease_token = %s, lease_until = statement_timestamp() + %s, attempts = attempts + 1,
            handed_over_at = NULL
        WHERE id = (
            SELECT id FROM notifications_mail
            WHERE state = 'queued' AND next_at <= statement_timestamp()
            ORDER BY next_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
        )
        RETURNING *
        """,
        [new_id(), LEASE],
    )
    return next(iter(rows), None)


def _deliver(mail: Mail, server: BaseEmailBackend) -> bool:
    """Send one claimed mail and write down what came of it. Answers whether the server can take another."""
    if refusal := _refusal(mail):
        _suppress(mail, *refusal)
        return True
    try:
        rendered = render(mail)
        message = _message(mail, rendered, server)
        message.message()  # refuses what no header may hold, while nothing has left
    except Exception:
        log.exception("mail_not_rendered", mail=str(mail.pk), name=mail.name)
        _fail(mail, MailState.FAILED, "not_rendered", "The template or its context is broken; see the log.")
        return True
    try:
        server.open()
    except Exception as error:  # OSError, SMTPException, and whatever another backend's session raises
        _retry(mail, "unreachable", error)
        return False
    if not _hand_over(mail):
        return True
    reach("notifications.handed_over")
    try:
        server.send_messages([message])
    except Exception as error:
        _note_failure(mail, error, classify(error, has_begun=getattr(server, "has_begun", True)))
        _close(server)
        return True
    reach("notifications.accepted")
    _note_sent(mail, rendered, message)
    return True


def _refusal(mail: Mail) -> tuple[str, str] | None:
    """Why it must not leave, as code and words."""
    if preferences.is_refused(mail.user_id, mail.name):
        return "unsubscribed", ""
    if (row := suppressions.against(mail)) is not None:
        return f"address_{row.reason}", row.words
    return None


def _message(mail: Mail, rendered: Rendered, server: BaseEmailBackend) -> EmailMultiAlternatives:
    domain = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2]
    message = EmailMultiAlternatives(
        subject=rendered.subject,
        body=rendered.text,
        from_email=settings.DEFAULT_FROM_EMAIL,
        to=[mail.to],
        reply_to=[settings.SUPPORT_EMAIL],
        headers={
            "Message-ID": f"<{mail.pk}@{domain}>",
            "Auto-Submitted": "auto-generated",
            "X-Auto-Response-Suppress": "All",
            **_one_click(rendered),
        },
        connection=server,
    )
    message.attach_alternative(rendered.html, "text/html")
    # For Anymail's backends, whose tracking events come back with it.
    message.metadata = {"mail_id": str(mail.pk)}  # type: ignore[attr-defined]
    message.tags = [mail.name]  # type: ignore[attr-defined]
    # Whether people open our mails is theirs, and a link that signs somebody in leads through nobody else's server.
    message.track_opens = message.track_clicks = False  # type: ignore[attr-defined]
    return message


def _one_click(rendered: Rendered) -> dict[str, str]:
    """RFC 8058: the reader's mail program shows a button that posts to the link by itself."""
    if not rendered.unsubscribe_link:
        return {}
    return {
        "List-Unsubscribe": f"<{rendered.unsubscribe_link}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


def _hand_over(mail: Mail) -> bool:
    """From here on the server may have it. A claim that lapsed meanwhile is somebody else's by now."""
    marked = Mail.objects.filter(
        pk=mail.pk, state=MailState.SENDING, lease_token=mail.lease_token, lease_until__gt=Now()
    ).update(handed_over_at=Now(), lease_until=Now() + HAND_OVER_LEASE)
    return marked == 1


def _note_sent(mail: Mail, rendered: Rendered, message: EmailMultiAlternatives) -> None:
    told: Any = getattr(message, "anymail_status", None)
    with transaction.atomic():
        # A sweep may have called the outcome unknown while the server took its time: this is the outcome.
        changed = Mail.objects.filter(
            pk=mail.pk, lease_token=mail.lease_token, state__in=[MailState.SENDING, MailState.FAILED]
        ).update(
            state=MailState.SENT,
            sent_at=Now(),
            subject=rendered.subject,
            provider_message_id=str(getattr(told, "message_id", None) or f"{mail.pk}")[:255],
            error_code="",
            error="",
            lease_token=None,
            lease_until=None,
        )
        if changed:
            audit.record("email.sent", mail, metadata=_facts(mail), user=mail.user_id)
    log.info("mail_sent", mail=str(mail.pk), name=mail.name, attempts=mail.attempts)


def _note_failure(mail: Mail, error: Exception, failure: Failure) -> None:
    match failure:
        case Failure.RETRY:
            _retry(mail, "refused", error)
        case Failure.BOUNCED:
            _fail(mail, MailState.BOUNCED, failure.value, _words(error))
            if is_final(error):
                suppressions.add(mail.to, SuppressionReason.BOUNCED, words=_words(error), mail=mail)
        case _:
            _fail(mail, MailState.FAILED, failure.value, _words(error))


def _retry(mail: Mail, code: str, error: Exception) -> None:
    if mail.attempts >= MAX_ATTEMPTS:
        _fail(mail, MailState.FAILED, "gave_up", _words(error))
        return
    wait = min(FIRST_RETRY * 2 ** (mail.attempts - 1), LONGEST_RETRY)
    Mail.objects.filter(pk=mail.pk, state=MailState.SENDING, lease_token=mail.lease_token).update(
        state=MailState.QUEUED,
        next_at=Now() + wait,
        handed_over_at=None,
        error_code=code,
        error=_words(error),
        lease_token=None,
        lease_until=None,
    )
    log.warning("mail_put_back", mail=str(mail.pk), name=mail.name, code=code, attempts=mail.attempts)


def _fail(mail: Mail, state: MailState, code: str, words: str) -> None:
    with transaction.atomic():
        # The token stays: it is how a late answer of the server finds its mail.
        changed = Mail.objects.filter(pk=mail.pk, state=MailState.SENDING, lease_token=mail.lease_token).update(
            state=state, error_code=code, error=words, lease_until=None
        )
        if changed:
            audit.record("email.failed", mail, metadata={**_facts(mail), "code": code}, user=mail.user_id)
    log.error("mail_failed", mail=str(mail.pk), name=mail.name, code=code, attempts=mail.attempts)


def _suppress(mail: Mail, code: str, words: str) -> None:
    """Its reader, or their mailbox, has said no since it was queued, or before."""
    with transaction.atomic():
        changed = Mail.objects.filter(pk=mail.pk, state=MailState.SENDING, lease_token=mail.lease_token).update(
            state=MailState.SUPPRESSED, error_code=code, error=words, lease_token=None, lease_until=None
        )
        if changed:
            audit.record("email.suppressed", mail, metadata={**_facts(mail), "code": code}, user=mail.user_id)


def _facts(mail: Mail) -> dict[str, Any]:
    return {"name": mail.name, "cause": mail.cause, "attempts": mail.attempts}


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]


@audit.writes("mail")
def recover_lapsed() -> int:
    """Take over what dead workers left: back into the queue, or failed when the server may have it.

    Idempotent: a lease lapses once.
    Locks: each lapsed mail; those that another worker holds are left to it.
    """
    with transaction.atomic():
        lapsed = list(
            Mail.objects.filter(state=MailState.SENDING, lease_until__lt=Now())
            .select_for_update(skip_locked=True, no_key=True)
            .order_by("pk")[:BATCH]
        )
        for mail in lapsed:
            if mail.handed_over_at is not None:
                _fail(
                    mail,
                    MailState.FAILED,
                    Failure.UNKNOWN.value,
                    "The worker died while the mail server had the message; it is not sent again.",
                )
            else:
                Mail.objects.filter(pk=mail.pk).update(
                    state=MailState.QUEUED, next_at=Now(), lease_token=None, lease_until=None
                )
    return len(lapsed)


def purge() -> int:
    """Forget what old mails said after KEEP_DAYS: context, subject, the servers' words. Rows and states stay.

    Idempotent: a purged mail is not looked at again.
    """
    with database.cursor() as cursor:
        cursor.execute(
            """
            WITH purged AS (
                UPDATE notifications_mail
                SET context = '{}', subject = '', error = '', purged_at = statement_timestamp()
                WHERE id IN (
                    SELECT id FROM notifications_mail
                    WHERE purged_at IS NULL AND created_at < statement_timestamp() - make_interval(days => %s)
                        AND state NOT IN ('queued', 'sending')
                    ORDER BY created_at LIMIT 5000 FOR UPDATE SKIP LOCKED
                )
                RETURNING id
            ), hushed AS (
                UPDATE notifications_mailevent SET words = '' WHERE mail_id IN (SELECT id FROM purged)
            )
            SELECT count(*) FROM purged
            """,
            [KEEP_DAYS],
        )
        (count,) = cursor.fetchone()
        return int(count)

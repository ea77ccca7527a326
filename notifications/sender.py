"""The mail sender that Anymail speaks to: which one it is, whether a webhook is its own, and what that says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from typing import Any

import orjson
import structlog
from anymail.exceptions import AnymailConfigurationError, AnymailError
from anymail.signals import AnymailTrackingEvent, EventType, RejectReason
from anymail.webhooks.base import AnymailCoreWebhookView
from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.core.handlers.wsgi import WSGIRequest
from django.utils.module_loading import import_string

from inbox.deliveries import Verdict
from notifications.models import EventKind

log = structlog.get_logger("mail")

# EMAIL_URL's anymail://<name> → what reads its webhooks. Not here: Mandrill, which sends forms; Amazon SES, which wants
# a 401 before it shows the secret, and its subscription confirmed; Unisender Go, which asks by GET before it begins;
# Postal, whose signatures want the package `cryptography`.
SENDERS = {
    "brevo": "anymail.webhooks.brevo.BrevoTrackingWebhookView",
    "mailersend": "anymail.webhooks.mailersend.MailerSendTrackingWebhookView",
    "mailgun": "anymail.webhooks.mailgun.MailgunTrackingWebhookView",
    "mailjet": "anymail.webhooks.mailjet.MailjetTrackingWebhookView",
    "mailtrap": "anymail.webhooks.mailtrap.MailtrapTrackingWebhookView",
    "postmark": "anymail.webhooks.postmark.PostmarkTrackingWebhookView",
    "resend": "anymail.webhooks.resend.ResendTrackingWebhookView",
    "sparkpost": "anymail.webhooks.sparkpost.SparkPostTrackingWebhookView",
}
_KINDS = {
    EventType.DELIVERED: EventKind.DELIVERED,
    EventType.DEFERRED: EventKind.DEFERRED,
    EventType.BOUNCED: EventKind.BOUNCED,
    EventType.COMPLAINED: EventKind.COMPLAINED,
    EventType.REJECTED: EventKind.REJECTED,
    EventType.FAILED: EventKind.REJECTED,
    EventType.OPENED: EventKind.OPENED,
    EventType.UNSUBSCRIBED: EventKind.UNSUBSCRIBED,
}
# Anymail calls both kinds of bounce by one name; these are the senders' own words for one that may pass.
_PASSING_WORDS = ("soft", "transient", "temporary")
_FULL_WORDS = ("mailbox full", "mailbox is full", "inbox was full", "quota")
_PASSING_CLASSES = ("20", "21", "22", "23", "24", "40", "70")  # Source: SparkPost, bounce classification codes


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to one mail. `mail_id` is ours, as the sender was given it; not all give it back."""

    mail_id: str
    message_id: str
    kind: EventKind
    at: datetime | None
    words: str
    is_final: bool  # of a bounce: there is no such mailbox


def reader() -> AnymailCoreWebhookView:
    """Anymail's reader of the configured sender's webhooks.

    Raises: KeyError without a sender that has one; AnymailConfigurationError, ImportError for what it lacks.
    """
    return import_string(SENDERS[settings.EMAIL_SENDER])()


def verify_webhook(headers: Mapping[str, str], body: bytes, *, now: int) -> Verdict:
    """Our secret must come with it, always; the sender's own signature too, where that is configured."""
    if settings.EMAIL_SENDER not in SENDERS or not settings.EMAIL_WEBHOOK_SECRET:
        return Verdict.NOT_CONFIGURED
    try:
        found = reader()
    except (AnymailConfigurationError, ImportError) as error:
        log.error("mail_webhook_not_configured", sender=settings.EMAIL_SENDER, error=str(error))
        return Verdict.NOT_CONFIGURED
    try:
        found.run_validators(_request(headers, body))
    except (AnymailError, SuspiciousOperation, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return Verdict.INVALID
    return Verdict.VALID


def events(body: Any) -> Iterator[Event]:
    """What a stored body says, as far as it concerns us."""
    request = _request({"Content-Type": "application/json"}, orjson.dumps(body))
    for told in reader().parse_events(request):
        kind = _KINDS.get(told.event_type)
        if kind is not None:
            words = _words(told)
            yield Event(
                mail_id=str((told.metadata or {}).get("mail_id") or ""),
                message_id=str(told.message_id or ""),
                kind=kind,
                at=told.timestamp,
                words=words,
                is_final=told.reject_reason in (RejectReason.BOUNCED, RejectReason.INVALID)
                and not any(word in words.lower() for word in _FULL_WORDS)
                and not _may_pass(told.esp_event),
            )


def _words(told: AnymailTrackingEvent) -> str:
    said = (told.reject_reason, told.description, told.mta_response)
    text = "; ".join(dict.fromkeys(str(part) for part in said if part))
    return "".join(c if c.isprintable() else " " for c in text)[:500]


def _may_pass(raw: Any) -> bool:
    for key, value in _fields(raw):
        match key:
            case "type" | "event" | "severity":
                if any(word in str(value).lower() for word in _PASSING_WORDS):
                    return True
            case "bounce_class":
                if str(value) in _PASSING_CLASSES:
                    return True
            case "hard_bounce":
                if not value:
                    return True
    return False


def _fields(raw: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(raw, dict):
        for key, value in raw.items():
            yield str(key).lower(), value
            yield from _fields(value)


def _request(headers: Mapping[str, str], body: bytes) -> WSGIRequest:
    named = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    return WSGIRequest(
        named
        | {
            "REQUEST_METHOD": "POST",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "CONTENT_TYPE": headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": BytesIO(body),
        }
    )

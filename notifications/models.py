"""The outbox: every mail is a row before it is a message."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from core.models import UUIDModel


class MailState(models.TextChoices):
    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    DELIVERED = "delivered"
    DEFERRED = "deferred"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    FAILED = "failed"
    SUPPRESSED = "suppressed"


# From the provider's events on (sent and later) only the truth about a mail that left us gets better.
TRANSITIONS: dict[str, frozenset[str]] = {
    MailState.QUEUED: frozenset({MailState.SENDING, MailState.SUPPRESSED}),
    MailState.SENDING: frozenset(
        {MailState.QUEUED, MailState.SENT, MailState.BOUNCED, MailState.FAILED, MailState.SUPPRESSED}
    ),
    MailState.SENT: frozenset(
        {MailState.DELIVERED, MailState.DEFERRED, MailState.BOUNCED, MailState.COMPLAINED, MailState.FAILED}
    ),
    MailState.DEFERRED: frozenset({MailState.DELIVERED, MailState.BOUNCED, MailState.FAILED}),
    MailState.DELIVERED: frozenset({MailState.COMPLAINED, MailState.BOUNCED}),
    MailState.FAILED: frozenset({MailState.SENT}),  # the server's late answer to a hand-over given up as unknown
    MailState.BOUNCED: frozenset(),
    MailState.COMPLAINED: frozenset(),
    MailState.SUPPRESSED: frozenset(),
}


class Mail(UUIDModel):
    """One mail to one person. The body is not stored: it is rendered from `name` and `context` when it is sent.

    Secrets (a verification link) are in neither: settings.MAIL_SECRETS names the function that makes them while
    the message is rendered.
    """

    cause = models.CharField(max_length=200, unique=True, help_text="Why it is sent; one cause, one mail.")
    name = models.CharField(max_length=64, help_text="The template's folder in templates/email/.")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="mails"
    )
    to = models.EmailField()
    context = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=MailState, default=MailState.QUEUED)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField(db_default=Now())
    lease_token = models.UUIDField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    handed_over_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="From here on the mail server may have it, whether it told us or not.",
    )
    subject = models.CharField(max_length=255, blank=True, help_text="As sent.")
    sent_at = models.DateTimeField(null=True, blank=True)
    provider_message_id = models.CharField(max_length=255, blank=True)
    error_code = models.CharField(max_length=32, blank=True)
    error = models.CharField(max_length=500, blank=True)
    purged_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=models.Q(state__in=[state.value for state in MailState]),
                name="notifications_mail_state",
            ),
            models.CheckConstraint(
                condition=~models.Q(state="sending") | models.Q(lease_token__isnull=False, lease_until__isnull=False),
                name="notifications_mail_sending_is_leased",
            ),
        )
        indexes = (
            models.Index(fields=["next_at"], condition=models.Q(state="queued"), name="notifications_mail_due"),
            models.Index(fields=["lease_until"], condition=models.Q(state="sending"), name="notifications_mail_leased"),
            models.Index(fields=["user", "-created_at"], name="notifications_mail_of_user"),
            models.Index(fields=["-created_at"], name="notifications_mail_newest"),
            models.Index(
                fields=["created_at"],
                condition=models.Q(purged_at__isnull=True),
                name="notifications_mail_unpurged",
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} to {self.to}"


class Refusal(UUIDModel):
    """One kind of mail that one person does not want."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False)
    name = models.CharField(max_length=64, help_text="As in notifications.mails.OPTIONAL.")

    class Meta:
        constraints = (models.UniqueConstraint(fields=["user", "name"], name="notifications_refusal_once"),)

    def __str__(self) -> str:
        return f"{self.user_id} without {self.name}"

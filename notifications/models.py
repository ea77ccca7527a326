"""The outbox: every mail is a row before it is a message."""

from __future__ import annotations

from typing import Self

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
    MailState.DEFERRED: frozenset({MailState.DELIVERED, MailState.BOUNCED, MailState.COMPLAINED, MailState.FAILED}),
    MailState.DELIVERED: frozenset({MailState.COMPLAINED, MailState.BOUNCED}),
    # What came of a hand-over that was given up as unknown: by the server's late answer, or by the sender's events.
    MailState.FAILED: frozenset(
        {MailState.SENT, MailState.DELIVERED, MailState.DEFERRED, MailState.BOUNCED, MailState.COMPLAINED}
    ),
    MailState.BOUNCED: frozenset({MailState.COMPLAINED}),
    MailState.COMPLAINED: frozenset(),
    MailState.SUPPRESSED: frozenset(),
}


UNARRIVED = (MailState.FAILED, MailState.BOUNCED)


class MailQuerySet(models.QuerySet["Mail"]):
    def dead(self) -> Self:
        """Letters that reached nobody and that nobody has sent again."""
        return self.filter(state__in=UNARRIVED, resent_as__isnull=True)


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
    resends = models.OneToOneField(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="resent_as",
        help_text="The mail that staff had sent once more by this one.",
    )

    objects = MailQuerySet.as_manager()

    class Meta:
        permissions = (
            ("resend_mail", "Can send a mail once more"),
            ("resend_many_mail", "Can send many dead letters once more"),
            ("try_mail", "Can send a sample to themselves"),
        )
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
            models.Index(
                fields=["-created_at"],
                condition=models.Q(state__in=[state.value for state in UNARRIVED]),
                name="notifications_mail_dead",
            ),
            models.Index(fields=["-created_at"], name="notifications_mail_newest"),
            models.Index(
                fields=["provider_message_id"],
                condition=~models.Q(provider_message_id=""),
                name="notifications_mail_at_sender",
            ),
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


class EventKind(models.TextChoices):
    DELIVERED = "delivered"
    DEFERRED = "deferred"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    REJECTED = "rejected", "not sent on by the sender"
    OPENED = "opened"
    UNSUBSCRIBED = "unsubscribed", "unsubscribed at the sender"


class MailEvent(UUIDModel):
    """What the sender told of a mail that it took from us, once each."""

    mail = models.ForeignKey(Mail, on_delete=models.CASCADE, related_name="events", db_index=False)
    kind = models.CharField(max_length=12, choices=EventKind)
    at = models.DateTimeField(help_text="By the sender's clock.")
    words = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["mail", "kind", "at"], name="notifications_event_once"),)

    def __str__(self) -> str:
        return f"{self.kind} at {self.at:%Y-%m-%d %H:%M}"


class SuppressionReason(models.TextChoices):
    BOUNCED = "bounced", "there is no such mailbox"
    COMPLAINED = "complained", "its reader called our mail spam"
    STAFF = "staff"


class Suppression(UUIDModel):
    """An address that gets no mail but what keeps an account its owner's (mails.Template.is_essential)."""

    email = models.EmailField(unique=True, help_text="As in Mail.to.")
    reason = models.CharField(max_length=10, choices=SuppressionReason)
    words = models.CharField(max_length=500, blank=True, help_text="The server's, or those of whoever asked for it.")
    mail = models.ForeignKey(
        Mail, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", help_text="What brought it about."
    )

    class Meta:
        permissions = (("lift_suppression", "Can let an address have mail again"),)

    def __str__(self) -> str:
        return f"{self.email}: {self.get_reason_display()}"

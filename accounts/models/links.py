"""Links that are mailed to prove that a person reads a mailbox."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from core.models import UUIDModel


class MailedLink(UUIDModel):
    """A link that was mailed. Only the hash of its token is kept; it works once."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="%(class)ss")
    email = models.EmailField(help_text="The mailbox this link proves.")
    token_hash = models.CharField(max_length=64, unique=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return str(self.pk)


class EmailVerification(MailedLink):
    """Proves the address that somebody signed up with."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="email_verifications")

    class Meta:
        indexes = (models.Index(fields=["user", "-created_at"], name="accounts_verification_of_user"),)


class EmailChange(MailedLink):
    """Proves the address that somebody wants to change to; until then nothing changes."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="email_changes")

    class Meta:
        indexes = (models.Index(fields=["user", "-created_at"], name="accounts_change_of_user"),)


class PasswordReset(MailedLink):
    """Asked for by anybody who names an address; whose it is, if anybody's, is found out by a worker."""

    user = models.ForeignKey(  # type: ignore[assignment]  # nobody's until the worker has looked
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="password_resets"
    )

    class Meta:
        indexes = (
            models.Index(fields=["user", "-created_at"], name="accounts_reset_of_user"),
            models.Index(fields=["created_at"], condition=models.Q(user__isnull=True), name="accounts_reset_due"),
        )

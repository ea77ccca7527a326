"""Proof that a person reads the mailbox they named."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from core.models import UUIDModel


class EmailVerification(UUIDModel):
    """A link that was mailed. Only the hash of its token is kept; it works once."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="email_verifications")
    email = models.EmailField(help_text="The mailbox this link proves.")
    token_hash = models.CharField(max_length=64, unique=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = (models.Index(fields=["user", "-created_at"], name="accounts_verification_of_user"),)

    def __str__(self) -> str:
        return str(self.pk)

"""One sign-in on one device: the family that all of its tokens belong to."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from core.models import UUIDModel


class EndReason(models.TextChoices):
    LOGOUT = "logout"
    REVOKED = "revoked", "revoked by its owner"
    REUSED = "reused", "a spent refresh token came back"
    PASSWORD = "password", "the password was changed"
    STAFF = "staff", "ended by staff"
    DELETED = "deleted", "the account is deleted"


class Session(UUIDModel):
    """A token family.

    The tokens themselves are not stored. `rotation` counts refreshes: a refresh token is spendable while its
    own number equals it, so every older token of the family is recognised as spent.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="sessions")
    last_seen_at = models.DateTimeField(db_default=Now())
    ip = models.GenericIPAddressField(null=True, blank=True)
    user_agent = models.CharField(max_length=400, blank=True)
    remember = models.BooleanField(default=False)
    has_mfa = models.BooleanField(default=False, db_default=False, help_text="Opened with the second factor, too.")
    rotation = models.PositiveIntegerField(default=0)
    rotated_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(help_text="When the newest refresh token runs out.")
    ended_at = models.DateTimeField(null=True, blank=True)
    end_reason = models.CharField(max_length=8, choices=EndReason, blank=True)

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=models.Q(ended_at__isnull=True, end_reason="")
                | (models.Q(ended_at__isnull=False) & ~models.Q(end_reason="")),
                name="accounts_session_end_has_reason",
            ),
        )
        indexes = (
            models.Index(
                fields=["user", "-created_at"],
                condition=models.Q(ended_at__isnull=True),
                name="accounts_session_live",
            ),
            models.Index(fields=["-created_at"], name="accounts_session_newest"),
        )

    def __str__(self) -> str:
        return str(self.pk)

    @property
    def has_staff_rights(self) -> bool:
        """Whether its owner may act as staff in it."""
        return self.user.is_staff and (self.has_mfa or not settings.MFA_REQUIRED)

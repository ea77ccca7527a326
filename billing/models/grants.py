"""Credits given away: the sign-up grant's memory, what was given today, and what staff gave."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from core.models import UUIDModel


class SignUpGrant(UUIDModel):
    """The one decision about a person's sign-up credits, granted or not. Outlives erasure as a keyed hash."""

    class Outcome(models.TextChoices):
        GRANTED = "granted"
        MAILBOX_USED = "mailbox_used"
        BUDGET_SPENT = "budget_spent"
        DOMAIN_CAPPED = "domain_capped"
        OFF = "off"

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="sign_up_grant")
    mailbox_hash = models.BinaryField(max_length=32)
    outcome = models.CharField(max_length=13, choices=Outcome.choices)
    amount = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["mailbox_hash"], condition=Q(outcome="granted"), name="sign_up_grant_once_per_mailbox"
            ),
            models.CheckConstraint(
                condition=Q(outcome="granted", amount__gt=0)
                | Q(outcome__in=["mailbox_used", "budget_spent", "domain_capped", "off"], amount=0),
                name="sign_up_grant_outcome",
            ),
        ]

    def __str__(self) -> str:
        return self.outcome


class PromoSpending(models.Model):
    """Promo credits given on one day (UTC), in all (`scope` is empty) and per mailbox domain (its keyed hash)."""

    day = models.DateField()
    scope = models.CharField(max_length=64, blank=True)
    amount = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["day", "scope"], name="promo_spending_once_per_day")]

    def __str__(self) -> str:
        return f"{self.day} {self.amount}"


class StaffGrant(UUIDModel):
    """Credits that a member of staff gave, alone or with a colleague's approval."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="staff_grants")
    amount = models.BigIntegerField()
    reason = models.CharField(max_length=500)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    approval = models.OneToOneField(
        "audit.Approval",
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="Null if given alone.",
    )
    voided_at = models.DateTimeField(null=True)
    voided_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    void_reason = models.CharField(max_length=500, blank=True)
    ended = models.BigIntegerField(null=True, help_text="What was unspent and went at once when it was voided.")

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="staff_grant_amount"),
            models.CheckConstraint(condition=~Q(actor=F("user")), name="staff_grant_to_another"),
            models.CheckConstraint(
                condition=Q(voided_at__isnull=True, voided_by__isnull=True, ended__isnull=True)
                | Q(voided_at__isnull=False, voided_by__isnull=False, ended__isnull=False),
                name="staff_grant_voided_by_somebody",
            ),
        ]
        indexes = [models.Index(fields=["-created_at"], name="staff_grant_newest")]
        permissions = [
            ("give_staffgrant", "Can give credits, within SUPPORT_GRANT_LIMIT a day alone"),
            ("give_more_staffgrant", "Can give credits within APPROVAL_LIMITS a day alone"),
            ("void_staffgrant", "Can void what staff gave"),
        ]

    def __str__(self) -> str:
        return f"{self.amount} credits"

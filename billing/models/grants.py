"""The sign-up grant's memory: who had it, and what was given away today."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

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

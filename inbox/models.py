"""Inbound webhooks as they came: raw, verified, stored once."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from core.models import UUIDModel


class Delivery(UUIDModel):
    """One body from one provider. Handling it is a hint to look, never an effect by itself."""

    class State(models.TextChoices):
        RECEIVED = "received"
        PROCESSED = "processed"
        IGNORED = "ignored"  # an unknown type, or about nothing of ours
        FAILED = "failed"  # will be tried again
        DEAD = "dead"  # a person must look

    provider = models.CharField(max_length=20)
    sha256 = models.BinaryField(max_length=32)
    event_type = models.CharField(max_length=80, blank=True)
    headers = models.JSONField(default=dict)
    body = models.BinaryField()
    is_stale = models.BooleanField(default=False)  # validly signed, but outside the provider's time tolerance
    times_received = models.PositiveIntegerField(default=1)
    state = models.CharField(max_length=10, choices=State, default=State.RECEIVED)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField(db_default=Now(), null=True)
    lease_token = models.UUIDField(null=True)
    handled_at = models.DateTimeField(null=True)
    note = models.TextField(blank=True)

    class Meta:
        verbose_name_plural = "deliveries"
        permissions = [("replay_delivery", "Can have webhooks handled again")]
        constraints = [
            models.UniqueConstraint(fields=["provider", "sha256"], name="delivery_stored_once"),
        ]
        indexes = [
            models.Index(fields=["next_at"], name="delivery_due", condition=models.Q(state__in=["received", "failed"])),
            models.Index(fields=["created_at"], name="delivery_age"),
            models.Index(fields=["-created_at"], name="delivery_dead", condition=models.Q(state="dead")),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.event_type} {self.state}"

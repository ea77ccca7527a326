"""What a gateway says that our books cannot take by themselves, and how far each gateway's lists have been read."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from billing.models.payments import Payment
from core.models import UUIDModel


class BreakKind(models.TextChoices):
    OVERPAID = "overpaid"
    UNDERPAID = "underpaid"
    PAID_TWICE = "paid_twice"
    MISMATCH = "mismatch"
    UNKNOWN_PAYMENT = "unknown_payment"
    UNKNOWN_REFUND = "unknown_refund"
    UNKNOWN_DISPUTE = "unknown_dispute"
    REFUND_EXCESS = "refund_excess"
    LOSS_EXCESS = "loss_excess"
    REFUND_FAILED = "refund_failed"
    UNAPPLIED = "unapplied"


class Break(UUIDModel):
    """One thing that a person must look at. Its cause is filed once, however often it is seen."""

    kind = models.CharField(max_length=16, choices=BreakKind)
    cause = models.CharField(max_length=120, unique=True)
    gateway = models.CharField(max_length=16)
    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, null=True, related_name="breaks")
    amount = models.BigIntegerField(null=True, help_text="What is at stake, in the currency's minor unit.")
    currency = models.CharField(max_length=3, blank=True)
    details = models.JSONField(default=dict)
    resolved_at = models.DateTimeField(null=True)
    resolved_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    resolution = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=Q(kind__in=[k.value for k in BreakKind]), name="break_kind"),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["-created_at", "-id"], name="break_newest"),
            models.Index(fields=["-created_at"], condition=Q(resolved_at=None), name="break_open"),
        ]
        permissions = (("resolve_break", "Can resolve what could not be applied by itself"),)

    def __str__(self) -> str:
        return self.cause


class GatewayCursor(UUIDModel):
    """How far one of a gateway's lists has been read. `position` is in Unix seconds, by the gateway's clock."""

    gateway = models.CharField(max_length=16)
    resource = models.CharField(max_length=16)
    position = models.BigIntegerField(default=0)
    deep_at = models.DateTimeField(null=True, help_text="When the long overlap was last read.")
    next_at = models.DateTimeField()
    lease_token = models.UUIDField(null=True)
    lease_until = models.DateTimeField(null=True)
    failures = models.PositiveSmallIntegerField(default=0)
    error = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["gateway", "resource"], name="gateway_cursor_once"),
        ]

    def __str__(self) -> str:
        return f"{self.gateway} {self.resource}"

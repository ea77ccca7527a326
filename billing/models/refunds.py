"""Money going back: refunds that we ask for or find, and disputes that a bank opens."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from billing.models.payments import Payment, PaymentAttempt
from core.models import UUIDModel


class RefundState(models.TextChoices):
    """requested: ours, the gateway may not know it yet; sent: the gateway has taken it, the money is on its way."""

    REQUESTED = "requested"
    SENT = "sent"
    PROCESSED = "processed"
    FAILED = "failed"


# A refund that the gateway has already taken may still fail, days later; its money then comes back to the payment.
REFUND_TRANSITIONS: dict[str, tuple[str, ...]] = {
    RefundState.REQUESTED: (RefundState.SENT, RefundState.PROCESSED, RefundState.FAILED),
    RefundState.SENT: (RefundState.PROCESSED, RefundState.FAILED),
    RefundState.PROCESSED: (RefundState.FAILED,),
    RefundState.FAILED: (),
}
RETURNED = (RefundState.SENT, RefundState.PROCESSED)


class RefundOrigin(models.TextChoices):
    """Why the money goes back: staff asked, money came twice, the goods could not be given, what was bought was
    canceled, or found at the gateway."""

    STAFF = "staff"
    SURPLUS = "surplus"
    REFUSED = "refused"
    CANCELED = "order"
    GATEWAY = "gateway"


class RefundMethod(models.TextChoices):
    """manual: staff pays it back by other means and enters that payment's reference."""

    GATEWAY = "gateway"
    MANUAL = "manual"


class Refund(UUIDModel):
    """One refund of one capture.

    Units: `amount` and `applied` in the currency's minor unit; `applied` is what the payment's figures carry of it
    (less than `amount` only for a refund found at the gateway that exceeds what we know came in), `frozen` credits.
    """

    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="refunds")
    attempt = models.ForeignKey(PaymentAttempt, on_delete=models.PROTECT, related_name="refunds")
    gateway = models.CharField(max_length=16)
    ref = models.CharField(max_length=140, null=True, help_text="The gateway's own id, once it has answered.")
    cause = models.CharField(max_length=160, unique=True, help_text="Why, once: a second refund for it is impossible.")
    amount = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    state = models.CharField(max_length=9, choices=RefundState, default=RefundState.REQUESTED)
    origin = models.CharField(max_length=7, choices=RefundOrigin)
    method = models.CharField(max_length=7, choices=RefundMethod, default=RefundMethod.GATEWAY)
    reason = models.CharField(max_length=500, blank=True)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    keeps_credits = models.BooleanField(default=False)
    applied = models.BigIntegerField(default=0)
    frozen = models.PositiveIntegerField(default=0)
    returned = models.PositiveIntegerField(default=0, help_text="Credits given back because it failed.")
    error_code = models.CharField(max_length=64, blank=True)
    error_message = models.CharField(max_length=500, blank=True)
    updated_at = models.DateTimeField(auto_now=True)
    next_at = models.DateTimeField(null=True, help_text="When it is sent or asked about again.")
    tries = models.PositiveSmallIntegerField(default=0)
    lease_token = models.UUIDField(null=True)
    lease_until = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["gateway", "ref"], name="refund_ref_once"),
            models.CheckConstraint(condition=Q(state__in=[s.value for s in RefundState]), name="refund_state"),
            models.CheckConstraint(
                condition=Q(amount__gt=0, applied__gte=0, applied__lte=F("amount")), name="refund_amount"
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["-created_at", "-id"], name="refund_newest"),
            models.Index(fields=["next_at"], condition=Q(next_at__isnull=False), name="refund_due"),
        ]

    def __str__(self) -> str:
        return f"refund {self.pk}"

    @property
    def is_surplus(self) -> bool:
        """Whether it returns money that came besides the price, which no credits stand for."""
        return self.origin == RefundOrigin.SURPLUS


class DisputeState(models.TextChoices):
    OPEN = "open"
    WON = "won"
    LOST = "lost"


DISPUTE_TRANSITIONS: dict[str, tuple[str, ...]] = {
    DisputeState.OPEN: (DisputeState.WON, DisputeState.LOST),
    # The next phase (pre-arbitration, arbitration) reopens the same case.
    DisputeState.WON: (DisputeState.OPEN, DisputeState.LOST),
    DisputeState.LOST: (DisputeState.WON,),
}


class Dispute(UUIDModel):
    """A bank's claim on one capture.

    Units: `amount` claimed, `lost` in the end and `applied` of that, as the payment's figures carry, in the minor unit.
    """

    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="disputes")
    attempt = models.ForeignKey(PaymentAttempt, on_delete=models.PROTECT, related_name="disputes")
    gateway = models.CharField(max_length=16)
    ref = models.CharField(max_length=64)
    amount = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    state = models.CharField(max_length=4, choices=DisputeState, default=DisputeState.OPEN)
    phase = models.CharField(max_length=32, blank=True)
    reason_code = models.CharField(max_length=64, blank=True)
    respond_by = models.DateTimeField(null=True)
    round = models.PositiveSmallIntegerField(default=1, help_text="Counts how often it was opened.")
    frozen = models.PositiveIntegerField(default=0, help_text="Credits asked to be frozen in this round.")
    returned = models.PositiveIntegerField(default=0, help_text="Credits given back because it was won after all.")
    lost = models.BigIntegerField(default=0)
    applied = models.BigIntegerField(default=0)
    look_applied = models.PositiveBigIntegerField(default=0, help_text="The latest look at the gateway that moved it.")
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["gateway", "ref"], name="dispute_ref_once"),
            models.CheckConstraint(condition=Q(state__in=[s.value for s in DisputeState]), name="dispute_state"),
            models.CheckConstraint(
                condition=Q(amount__gt=0, applied__gte=0, applied__lte=F("lost")), name="dispute_amount"
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["-created_at", "-id"], name="dispute_newest"),
            models.Index(fields=["payment"], condition=Q(state="open"), name="dispute_open"),
        ]

    def __str__(self) -> str:
        return self.ref

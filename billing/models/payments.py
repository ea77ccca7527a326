"""Payments, how each was started at its gateway, and what the gateway says came of it."""

from __future__ import annotations

import uuid
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from billing.models.ledger import UserWalletKind
from core.models import UUIDModel
from core.money import CREDIT


class PaymentState(models.TextChoices):
    CREATED = "created"
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"
    PARTIALLY_REFUNDED = "partially_refunded"
    REFUNDED = "refunded"
    DISPUTED = "disputed"


OPEN = (PaymentState.CREATED, PaymentState.PENDING)
CLOSED = (PaymentState.FAILED, PaymentState.CANCELED, PaymentState.EXPIRED)
PAID = (
    PaymentState.SUCCEEDED,
    PaymentState.PARTIALLY_REFUNDED,
    PaymentState.REFUNDED,
    PaymentState.DISPUTED,
)
# Late money is money: a closed payment still succeeds when the gateway says so. What is paid never becomes unpaid;
# among the paid states the figures decide (a refund that fails later gives its money back to the payment).
TRANSITIONS: dict[str, tuple[str, ...]] = {
    PaymentState.CREATED: (PaymentState.PENDING, *CLOSED, *PAID),
    PaymentState.PENDING: (*CLOSED, *PAID),
    PaymentState.FAILED: PAID,
    PaymentState.CANCELED: PAID,
    PaymentState.EXPIRED: PAID,
    **{state: tuple(other for other in PAID if other != state) for state in PAID},
}


class Flow(models.TextChoices):
    CLIENT = "client"
    HOSTED = "hosted"


class Fulfilment(models.TextChoices):
    NONE = "none"
    FULFILLED = "fulfilled"
    REFUSED = "refused"


class PaymentQuerySet(models.QuerySet["Payment"]):
    def visible_to(self, user: models.Model) -> Self:
        return self.filter(user_id=user.pk)


class Payment(UUIDModel):
    """What somebody asked to buy, at the price of that moment, and how much money came, went back or was lost.

    Units: `amount received refunded refunding lost forgiven` in the currency's minor unit; `granted taken` in `unit`:
    credits, or that currency where a wallet of money is filled. `refunding` is room kept for refunds under way;
    `forgiven` the part of refunded for which the customer may keep what was granted; `taken` what has already been
    clawed back or written down as debt.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="payments")
    item = models.CharField(max_length=80)
    fulfils = models.CharField(max_length=16, help_text="The key of settings.BILLING_FULFILMENT that delivers it.")
    title = models.CharField(max_length=120)
    credits = models.PositiveIntegerField(default=0)
    wallet_kind = models.CharField(
        max_length=7, blank=True, default=UserWalletKind.CREDITS, help_text="The wallet it fills; empty if none."
    )
    gateway = models.CharField(max_length=16)
    amount = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    flow = models.CharField(max_length=6, choices=Flow, default=Flow.CLIENT)
    return_url = models.URLField(max_length=2000, blank=True)

    state = models.CharField(max_length=18, choices=PaymentState, default=PaymentState.CREATED)
    failure_code = models.CharField(max_length=64, blank=True)
    failure_message = models.CharField(max_length=500, blank=True)
    superseded_by = models.ForeignKey("self", on_delete=models.PROTECT, null=True, related_name="supersedes")

    received = models.BigIntegerField(default=0)
    refunded = models.BigIntegerField(default=0)
    refunding = models.BigIntegerField(default=0)
    lost = models.BigIntegerField(default=0)
    forgiven = models.BigIntegerField(default=0)
    fulfilment = models.CharField(max_length=9, choices=Fulfilment, default=Fulfilment.NONE)
    granted = models.PositiveIntegerField(default=0)
    taken = models.PositiveIntegerField(default=0)

    expires_at = models.DateTimeField()
    settled_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(auto_now=True)
    next_at = models.DateTimeField(null=True, help_text="When the gateway is asked again, by the database's clock.")
    looks = models.PositiveSmallIntegerField(default=0)
    lease_token = models.UUIDField(null=True)
    lease_until = models.DateTimeField(null=True)

    objects = PaymentQuerySet.as_manager()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["user", "item"], condition=Q(state__in=[s.value for s in OPEN]), name="payment_open_once"
            ),
            models.CheckConstraint(condition=Q(state__in=[s.value for s in PaymentState]), name="payment_state"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="payment_amount"),
            models.CheckConstraint(
                condition=Q(received__gte=0, refunded__gte=0, refunding__gte=0, lost__gte=0, forgiven__gte=0),
                name="payment_money_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(received__gte=F("refunded") + F("lost"), forgiven__lte=F("refunded")),
                name="payment_never_returns_more_than_came",
            ),
            models.CheckConstraint(condition=Q(taken__lte=F("granted")), name="payment_takes_what_it_gave"),
        )
        indexes = (
            models.Index(fields=["user", "-created_at", "-id"], name="payment_newest_of_user"),
            models.Index(fields=["-created_at", "-id"], name="payment_newest"),
            models.Index(fields=["next_at"], condition=Q(next_at__isnull=False), name="payment_due"),
            models.Index(fields=["gateway", "state"], name="payment_gateway_state"),
            models.Index(fields=["updated_at"], name="payment_updated"),
        )
        permissions = (("refund_payment", "Can refund payments, within APPROVAL_LIMITS a day alone"),)

    def __str__(self) -> str:
        return f"payment {self.pk}"

    @property
    def is_open(self) -> bool:
        return self.state in OPEN

    @property
    def is_paid(self) -> bool:
        return self.state in PAID

    @property
    def unit(self) -> str:
        """What `granted` and `taken` count."""
        return CREDIT if self.wallet_kind == UserWalletKind.CREDITS else self.currency

    @property
    def excess(self) -> int:
        """What came above the price."""
        return max(0, self.received - self.amount)

    @property
    def room(self) -> int:
        """How much may still be asked back: what came, less what went or is on its way."""
        return self.received - self.refunded - self.refunding - self.lost

    def due(self, *, also_gone: int = 0) -> int:
        """How much of what was granted the money that went back stands for, in all.

        What came above the price goes back first, and nothing stands for it; nor for what was forgiven.
        Units: `also_gone` in the minor unit, as if that were gone too.
        """
        gone = self.refunded + self.lost + also_gone - self.forgiven - self.excess
        paid = self.received - self.excess
        return self.granted * min(paid, max(0, gone)) // paid if paid else 0

    def standing(self, *, is_disputed: bool) -> PaymentState:
        """The state of a paid payment, by its figures."""
        gone = self.refunded + self.lost
        if is_disputed:
            return PaymentState.DISPUTED
        if gone >= self.received:
            return PaymentState.REFUNDED
        return PaymentState.PARTIALLY_REFUNDED if gone else PaymentState.SUCCEEDED


class PaymentStart(UUIDModel):
    """One start of a payment at its gateway, under our reference `<payment>-<n>`; every one of them is looked at."""

    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="starts")
    n = models.PositiveSmallIntegerField()
    gateway = models.CharField(max_length=16)
    reference = models.CharField(max_length=40, unique=True)
    ref = models.CharField(max_length=128, null=True, help_text="The gateway's own id, once it has answered.")
    url = models.URLField(
        max_length=2000, blank=True, default="", help_text="The gateway's checkout page, if it has one."
    )
    secret = models.CharField(
        max_length=255, blank=True, default="", help_text="What the gateway's library opens it with in the client."
    )
    amount = models.BigIntegerField()
    currency = models.CharField(max_length=3)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["payment", "n"], name="payment_start_once"),
            models.UniqueConstraint(fields=["gateway", "ref"], name="payment_start_ref_once"),
        )

    def __str__(self) -> str:
        return self.reference


class AttemptState(models.TextChoices):
    CREATED = "created"
    AUTHORIZED = "authorized"
    FAILED = "failed"
    LAPSED = "lapsed"
    CAPTURED = "captured"


class Counts(models.TextChoices):
    """What a capture is to its payment: not yet decided, part of the price, or money too much."""

    UNDECIDED = ""
    PRICE = "price"
    SURPLUS = "surplus"


class PaymentAttempt(UUIDModel):
    """One try of the customer to pay, as the gateway tells it. A failed one may still become captured later."""

    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="attempts")
    start = models.ForeignKey(PaymentStart, on_delete=models.PROTECT, related_name="attempts")
    gateway = models.CharField(max_length=16)
    ref = models.CharField(max_length=140)
    state = models.CharField(max_length=10, choices=AttemptState)
    amount = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    refunded = models.BigIntegerField(default=0, help_text="The gateway's own figure, for comparison.")
    counts = models.CharField(max_length=7, choices=Counts, blank=True, default=Counts.UNDECIDED)
    method = models.CharField(max_length=32, blank=True)
    error_code = models.CharField(max_length=64, blank=True)
    error_message = models.CharField(max_length=500, blank=True)
    tried_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["gateway", "ref"], name="payment_attempt_once"),
            models.CheckConstraint(condition=Q(amount__gte=0, refunded__gte=0), name="payment_attempt_amount"),
        )
        indexes = (models.Index(fields=["-created_at", "-id"], name="payment_attempt_newest"),)

    def __str__(self) -> str:
        return self.ref


def start_reference(payment_id: uuid.UUID, n: int) -> str:
    """Our name of a start: 36 characters, a dash and the number; Razorpay's receipt takes 40.

    Raises: ValueError when it would not fit.
    """
    if not 1 <= n <= 999:
        raise ValueError(f"start {n} of payment {payment_id} has no reference of 40 characters")
    return f"{payment_id}-{n}"

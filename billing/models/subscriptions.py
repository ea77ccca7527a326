"""Subscriptions: the plans that are sold, who has which, what was changed, and the invoices seen."""

from __future__ import annotations

from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from billing.models.payments import Payment
from core.models import UUIDModel


class Interval(models.TextChoices):
    MONTH = "month"
    YEAR = "year"


class Plan(UUIDModel):
    """What a subscription costs and gives. Units: `amount` in the currency's minor unit, `credits` a month.

    Other terms are another edition, a row of its own: whoever subscribed to the former keeps it.
    """

    code = models.CharField(max_length=32)
    interval = models.CharField(max_length=5, choices=Interval, default=Interval.MONTH)
    name = models.CharField(max_length=80)
    amount = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    credits = models.PositiveIntegerField()
    max_avatars = models.PositiveIntegerField()
    position = models.PositiveSmallIntegerField(default=0)
    is_for_sale = models.BooleanField(default=True)
    edition = models.PositiveSmallIntegerField(default=1)
    retired_at = models.DateTimeField(null=True, help_text="When the next edition took its place.")
    price_ref = models.CharField(
        max_length=64, null=True, unique=True, help_text="The gateway's price, made by sync_plans or the first buyer."
    )

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["code", "interval", "currency"], condition=Q(retired_at=None), name="plan_once"
            ),
            models.UniqueConstraint(fields=["code", "interval", "currency", "edition"], name="plan_edition_once"),
            models.CheckConstraint(condition=Q(amount__gt=0, credits__gt=0, max_avatars__gt=0), name="plan_figures"),
            models.CheckConstraint(condition=Q(currency__regex=r"^[A-Z]{3}$"), name="plan_currency"),
            models.CheckConstraint(condition=Q(interval__in=[i.value for i in Interval]), name="plan_interval"),
        )

    def __str__(self) -> str:
        return f"{self.code} {self.interval} {self.currency}"

    @property
    def lookup_key(self) -> str:
        """How the gateway finds its price; another amount is another price, and so is another edition."""
        key = f"atelier-{self.code}-{self.interval}-{self.currency}-{self.amount}".lower()
        return key if self.edition == 1 else f"{key}-{self.edition}"


class GatewayCustomer(UUIDModel):
    """A person as a gateway knows them, one for each."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="gateway_customers")
    gateway = models.CharField(max_length=16)
    ref = models.CharField(max_length=64)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["user", "gateway"], name="gateway_customer_once"),
            models.UniqueConstraint(fields=["gateway", "ref"], name="gateway_customer_ref_once"),
        )

    def __str__(self) -> str:
        return self.ref


class SubscriptionState(models.TextChoices):
    INCOMPLETE = "incomplete"
    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"
    CANCELED = "canceled"
    EXPIRED = "expired"


LIVE = (
    SubscriptionState.INCOMPLETE,
    SubscriptionState.TRIALING,
    SubscriptionState.ACTIVE,
    SubscriptionState.PAST_DUE,
)
ENTITLED = (SubscriptionState.TRIALING, SubscriptionState.ACTIVE, SubscriptionState.PAST_DUE)
# What has ended never lives again: the gateway wants a new subscription then, and so do we.
SUBSCRIPTION_TRANSITIONS: dict[str, tuple[str, ...]] = {
    **{
        state: tuple(other for other in SubscriptionState if other not in (state, SubscriptionState.INCOMPLETE))
        for state in LIVE
    },
    SubscriptionState.CANCELED: (),
    SubscriptionState.EXPIRED: (),
}


class SubscriptionQuerySet(models.QuerySet["Subscription"]):
    def visible_to(self, user: models.Model) -> Self:
        return self.filter(user_id=user.pk)

    def live(self) -> Self:
        return self.filter(state__in=LIVE)


class Subscription(UUIDModel):
    """A person's subscription. `plan` is what they have now, `next_plan` what the next period brings."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="subscriptions")
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="+")
    next_plan = models.ForeignKey(Plan, on_delete=models.PROTECT, null=True, related_name="+")
    gateway = models.CharField(max_length=16, default="stripe")
    ref = models.CharField(max_length=64, null=True, unique=True, help_text="The gateway's id, once it has answered.")
    item_ref = models.CharField(max_length=64, blank=True)
    secret = models.CharField(max_length=255, blank=True, default="", help_text="Opens the first invoice's payment.")
    state = models.CharField(max_length=10, choices=SubscriptionState, default=SubscriptionState.INCOMPLETE)
    period_start = models.DateTimeField(null=True)
    period_end = models.DateTimeField(null=True)
    cancel_at_period_end = models.BooleanField(default=False)
    ends_now = models.BooleanField(default=False, help_text="Asked to end at once; the rest of its credits goes.")
    credits_lost = models.PositiveIntegerField(default=0, help_text="What went when it was ended at once.")
    ended_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(auto_now=True)
    next_check_at = models.DateTimeField(null=True, help_text="When the gateway is asked again.")
    look_applied = models.PositiveBigIntegerField(
        default=0, help_text="The latest look at the gateway that this row shows."
    )

    objects: ClassVar[SubscriptionQuerySet] = SubscriptionQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["user"], condition=Q(state__in=[s.value for s in LIVE]), name="subscription_live_once"
            ),
            models.CheckConstraint(
                condition=Q(state__in=[s.value for s in SubscriptionState]), name="subscription_state"
            ),
        )
        indexes = (
            models.Index(fields=["user", "-created_at", "-id"], name="subscription_newest_of_user"),
            models.Index(fields=["-created_at", "-id"], name="subscription_newest"),
            models.Index(fields=["next_check_at"], condition=Q(next_check_at__isnull=False), name="subscription_due"),
        )

    def __str__(self) -> str:
        return f"subscription {self.pk}"

    @property
    def is_live(self) -> bool:
        return self.state in LIVE


class SubscriptionChange(UUIDModel):
    """An upgrade that was asked for: what it gives when its invoice is paid. Units: `credits`, by the time left."""

    class State(models.TextChoices):
        REQUESTED = "requested"
        APPLIED = "applied"
        REFUSED = "refused"

    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, related_name="changes")
    old_plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="+")
    new_plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="+")
    period_start = models.DateTimeField()
    asked_at = models.DateTimeField()
    credits = models.PositiveIntegerField()
    state = models.CharField(max_length=9, choices=State, default=State.REQUESTED)
    error_message = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["subscription", "period_start", "new_plan"],
                condition=~Q(state="refused"),
                name="subscription_change_once_a_period",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["requested", "applied", "refused"]), name="subscription_change_state"
            ),
            models.CheckConstraint(condition=~Q(old_plan=F("new_plan")), name="subscription_change_changes"),
        )

    def __str__(self) -> str:
        return f"{self.old_plan_id} → {self.new_plan_id}"


class SubscriptionInvoice(UUIDModel):
    """An invoice of the gateway's, and the payment that it became once it was paid.

    Units: `amount` in the currency's minor unit; `months` of a yearly one are given, the next at `next_month_at`.
    """

    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, related_name="invoices")
    ref = models.CharField(max_length=64, unique=True)
    reason = models.CharField(max_length=40)
    status = models.CharField(max_length=16)
    amount = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, null=True, related_name="+")
    change = models.ForeignKey(SubscriptionChange, on_delete=models.PROTECT, null=True, related_name="+")
    period_start = models.DateTimeField(null=True)
    period_end = models.DateTimeField(null=True)
    paid_at = models.DateTimeField(null=True)
    payment = models.OneToOneField(Payment, on_delete=models.PROTECT, null=True, related_name="subscription_invoice")
    months = models.PositiveSmallIntegerField(default=0)
    next_month_at = models.DateTimeField(null=True)
    has_ended = models.BooleanField(default=False, help_text="Its credits were ended by a later period's.")
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = (
            models.CheckConstraint(condition=Q(amount__gte=0, months__lte=12), name="subscription_invoice_figures"),
        )
        indexes = (
            models.Index(fields=["-created_at", "-id"], name="subscription_invoice_newest"),
            models.Index(
                fields=["next_month_at"], condition=Q(next_month_at__isnull=False), name="subscription_month_due"
            ),
        )

    def __str__(self) -> str:
        return self.ref

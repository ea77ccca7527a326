"""Products with their stock, and what people have ordered of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self
from uuid import UUID

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from billing.models import Payment
from core.models import StoredObject, UUIDModel
from core.money import CURRENCIES


class ProductQuerySet(models.QuerySet["Product"]):
    def shown(self) -> Self:
        """What the public sees."""
        return self.filter(is_active=True)


class Product(UUIDModel):
    """A thing on the shelf.

    `stock` is how many lie there, `reserved` how many of them belong to orders that have not been shipped.
    Units: `amount` in the currency's minor unit.
    """

    name = models.CharField(max_length=120)
    description = models.CharField(max_length=5000, blank=True)
    category = models.SlugField(max_length=40, db_index=False)
    amount = models.BigIntegerField("price, in minor units")
    currency = models.CharField(max_length=3, choices=[(name, name) for name in CURRENCIES])
    image_url = models.URLField(max_length=2000, blank=True)
    stock = models.IntegerField("on the shelf", default=0)
    reserved = models.IntegerField(default=0, editable=False)
    model = models.UUIDField(
        "3D model", null=True, blank=True, help_text="The 3D job whose GLB is shown: one of your own, finished."
    )
    model_file = models.ForeignKey(
        StoredObject,
        null=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="It belongs to the job, and goes with what the job made.",
    )
    is_active = models.BooleanField(default=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ProductQuerySet.as_manager()

    class Meta:
        constraints = (
            models.CheckConstraint(condition=Q(amount__gt=0), name="store_product_price"),
            models.CheckConstraint(
                condition=Q(reserved__gte=0, reserved__lte=F("stock")), name="store_product_not_oversold"
            ),
        )
        indexes = (
            models.Index(fields=["-created_at", "-id"], condition=Q(is_active=True), name="store_product_shown"),
            models.Index(fields=["category", "-created_at"], name="store_product_category"),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def available(self) -> int:
        """How many can be ordered."""
        return self.stock - self.reserved

    @property
    def model_key(self) -> str | None:
        """Where its 3D model is stored; None from the moment it is deleted or taken down."""
        return self.model_file.key if self.model_file and self.model_file.expires_at is None else None


class OrderState(models.TextChoices):
    PENDING = "pending"
    CONFIRMED = "confirmed"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CANCELED = "canceled"


# Late money is money: an order that was given up unpaid is confirmed after all, if its goods are still there.
TRANSITIONS: dict[str, tuple[str, ...]] = {
    OrderState.PENDING: (OrderState.CONFIRMED, OrderState.CANCELED),
    OrderState.CONFIRMED: (OrderState.SHIPPED, OrderState.CANCELED),
    OrderState.SHIPPED: (OrderState.DELIVERED,),
    OrderState.DELIVERED: (),
    OrderState.CANCELED: (OrderState.CONFIRMED,),
}
RESERVING = (OrderState.PENDING, OrderState.CONFIRMED)


class Because(models.TextChoices):
    """Why an order was canceled."""

    BUYER = "buyer", "The buyer canceled it"
    STAFF = "staff", "Staff canceled it"
    UNPAID = "unpaid", "It was not paid in time"
    ERASED = "erased", "The buyer's account was deleted"


class OrderQuerySet(models.QuerySet["Order"]):
    def visible_to(self, user: models.Model) -> Self:
        return self.filter(user_id=user.pk)


class Order(UUIDModel):
    """What somebody ordered, at the prices of that moment. `payment` is the one that paid it.

    Until `expires_at` it can be paid; after it, the stock is given back once no payment of it can come any more.
    Units: `amount` in the currency's minor unit.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    state = models.CharField(max_length=9, choices=OrderState, default=OrderState.PENDING)
    amount = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    address = models.JSONField(help_text="Where it goes; empty once the buyer is erased.")
    payment = models.OneToOneField(Payment, on_delete=models.PROTECT, null=True, related_name="+")
    tracking = models.CharField(max_length=100, blank=True)
    because = models.CharField(max_length=6, choices=Because, blank=True)
    expires_at = models.DateTimeField()
    next_at = models.DateTimeField(null=True, help_text="When it is looked whether it was paid; null once it was.")
    confirmed_at = models.DateTimeField(null=True)
    shipped_at = models.DateTimeField(null=True)
    delivered_at = models.DateTimeField(null=True)
    canceled_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = OrderQuerySet.as_manager()

    class Meta:
        constraints = (
            models.CheckConstraint(condition=Q(state__in=[s.value for s in OrderState]), name="store_order_state"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="store_order_amount"),
            models.CheckConstraint(
                condition=Q(payment__isnull=False) | Q(state__in=["pending", "canceled"]), name="store_order_paid"
            ),
            models.CheckConstraint(
                condition=(Q(state="canceled") & ~Q(because="") & Q(canceled_at__isnull=False))
                | (~Q(state="canceled") & Q(because="", canceled_at=None)),
                name="store_order_canceled",
            ),
        )
        indexes = (
            models.Index(fields=["user", "-created_at", "-id"], name="store_order_newest_of_user"),
            models.Index(fields=["-created_at", "-id"], name="store_order_newest"),
            models.Index(fields=["next_at"], condition=Q(next_at__isnull=False), name="store_order_due"),
            models.Index(fields=["id"], condition=Q(state__in=["pending", "confirmed"]), name="store_order_reserving"),
        )
        permissions = (("process_order", "Can ship, deliver and cancel orders"),)

    def __str__(self) -> str:
        return f"order {self.pk}"

    @property
    def item(self) -> str:
        """What a payment for it names."""
        return f"order:{self.pk}"

    def wanted(self) -> Mapping[UUID, int]:
        """How many of each product."""
        return {line.product_id: line.quantity for line in self.lines.all()}


class OrderLine(UUIDModel):
    """So many of one product, with its name and price as they were. Units: `amount` of one, in the minor unit."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="lines", db_index=False)
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="+")
    position = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=120)
    quantity = models.PositiveIntegerField()
    amount = models.BigIntegerField()

    class Meta:
        ordering = ("position",)
        constraints = (
            models.UniqueConstraint(fields=["order", "product"], name="store_line_once"),
            models.CheckConstraint(condition=Q(quantity__gt=0, amount__gt=0), name="store_line_positive"),
        )

    def __str__(self) -> str:
        return f"{self.quantity} \u00d7 {self.name}"

    @property
    def total(self) -> int:
        return self.quantity * self.amount

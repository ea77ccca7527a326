"""What is sold for money: packages of credits and the price of a custom number of them."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Upper

from core.models import UUIDModel


class Package(UUIDModel):
    """A fixed number of credits at one price in one currency. Codes are stored and compared in upper case."""

    code = models.CharField(max_length=32)
    name = models.CharField(max_length=80)
    credits = models.PositiveIntegerField()
    amount = models.BigIntegerField(help_text="In the currency's minor unit (paise, cents).")
    currency = models.CharField(max_length=3)
    is_popular = models.BooleanField(default=False)
    is_shown = models.BooleanField(default=True)
    is_for_sale = models.BooleanField(default=True, help_text="FREE is shown, but it is the sign-up grant.")
    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["code", "currency"], name="package_once"),
            models.CheckConstraint(condition=Q(code=Upper(F("code"))), name="package_code_upper"),
            models.CheckConstraint(condition=Q(currency__regex=r"^[A-Z]{3}$"), name="package_currency"),
            models.CheckConstraint(condition=Q(credits__gt=0), name="package_credits"),
            models.CheckConstraint(
                condition=Q(amount__gt=0) | Q(amount=0, is_for_sale=False), name="package_never_sold_for_nothing"
            ),
        )
        permissions = (("reprice_package", "Can ask for other prices of packages, credits and plans"),)

    def __str__(self) -> str:
        return f"{self.code} {self.currency}"


class CreditPrice(UUIDModel):
    """What one credit costs in a currency when people choose the number themselves, and how many they may take."""

    currency = models.CharField(max_length=3, unique=True)
    amount = models.BigIntegerField(help_text="For one credit, in the currency's minor unit.")
    least = models.PositiveIntegerField()
    most = models.PositiveIntegerField()
    is_for_sale = models.BooleanField(default=True)

    class Meta:
        constraints = (
            models.CheckConstraint(condition=Q(currency__regex=r"^[A-Z]{3}$"), name="credit_price_currency"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="credit_price_amount"),
            models.CheckConstraint(condition=Q(least__gt=0, most__gte=F("least")), name="credit_price_range"),
        )

    def __str__(self) -> str:
        return f"custom credits {self.currency}"

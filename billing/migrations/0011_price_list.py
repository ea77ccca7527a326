"""The price list that an installation begins with."""

from __future__ import annotations

from typing import Any

from django.db import migrations
from django.db.migrations.state import StateApps

from core.ids import new_id

# currency, code, name, credits, amount (minor unit), is_popular, is_for_sale
PACKAGES = (
    ("INR", "FREE", "Free", 5, 0, False, False),  # shown; it is what a new account is given
    ("INR", "BASIC", "Basic", 100, 49_900, True, True),
    ("INR", "PREMIUM", "Premium", 500, 199_900, False, True),
    ("INR", "ENTERPRISE", "Enterprise", 2_000, 499_900, False, True),
    ("USD", "BASIC", "Basic", 100, 999, False, True),
    ("USD", "STANDARD", "Standard", 250, 1_999, True, True),
    ("USD", "PREMIUM", "Premium", 500, 3_499, False, True),
    ("USD", "ENTERPRISE", "Enterprise", 1_000, 5_999, False, True),
)
CUSTOM_CREDITS = (("INR", 500, 10, 1_000),)


def seed(apps: StateApps, schema_editor: Any) -> None:
    package: Any = apps.get_model("billing", "Package")
    package.objects.bulk_create(
        [
            package(
                id=new_id(),
                currency=currency,
                code=code,
                name=name,
                credits=credits,
                amount=amount,
                is_popular=is_popular,
                is_for_sale=is_for_sale,
                position=position,
            )
            for position, (currency, code, name, credits, amount, is_popular, is_for_sale) in enumerate(PACKAGES)
        ],
        ignore_conflicts=True,
    )
    price: Any = apps.get_model("billing", "CreditPrice")
    price.objects.bulk_create(
        [
            price(id=new_id(), currency=currency, amount=amount, least=least, most=most)
            for currency, amount, least, most in CUSTOM_CREDITS
        ],
        ignore_conflicts=True,
    )


class Migration(migrations.Migration):
    dependencies = [("billing", "0010_payments")]

    operations = [migrations.RunPython(seed, migrations.RunPython.noop)]

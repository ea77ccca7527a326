"""Spending by django-hordak, as its manual moves money: look at the balance under a lock, then transfer.

Run by an interpreter that holds bench/requirements-hordak.txt. `prepare` makes the accounts and funds them.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import django
from django.conf import settings

PEOPLE, PRICE = int(os.environ["PEOPLE"]), int(os.environ["PRICE"])
FUNDS = 10**9

settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": os.environ["DATABASE"],
            "HOST": os.environ["SOCKETS"],
            "USER": "postgres",
            "CONN_MAX_AGE": None,
        }
    },
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "mptt", "djmoney", "hordak"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
    SECRET_KEY="bench",
    DEFAULT_CURRENCY="USD",
    CURRENCIES=["USD"],
    HORDAK_CURRENCIES=["USD"],
    HORDAK_INTERNAL_CURRENCY="USD",
)
django.setup()

from django.db import transaction  # noqa: E402
from djmoney.money import Money  # noqa: E402
from hordak.models import Account, AccountType, Leg, Transaction  # noqa: E402

AMOUNT = Money(PRICE, "USD")


def prepare() -> None:
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    bank = Account.objects.create(name="bank", code="0", type=AccountType.asset, currencies=["USD"])
    Account.objects.create(name="spent", code="1", type=AccountType.liability, currencies=["USD"])
    for person in range(1, PEOPLE + 1):
        names = {"available": f"{2 * person}", "held": f"{2 * person + 1}"}
        accounts = {
            name: Account.objects.create(
                name=f"{name} {person}", code=code, type=AccountType.liability, currencies=["USD"]
            )
            for name, code in names.items()
        }
        with transaction.atomic():
            funding = Transaction.objects.create()
            Leg.objects.create(transaction=funding, account=bank, debit=Money(FUNDS, "USD"))
            Leg.objects.create(transaction=funding, account=accounts["available"], credit=Money(FUNDS, "USD"))


def spend() -> None:
    person = random.randint(1, PEOPLE)
    with transaction.atomic():  # hold
        available = Account.objects.select_for_update().get(pk=IDS[f"{2 * person}"])
        if available.get_simple_balance() < AMOUNT:
            raise ValueError("insufficient")
        available.transfer_to(Account.objects.get(pk=IDS[f"{2 * person + 1}"]), AMOUNT)
    with transaction.atomic():  # capture
        held = Account.objects.select_for_update().get(pk=IDS[f"{2 * person + 1}"])
        held.transfer_to(Account.objects.get(pk=IDS["1"]), AMOUNT)


def check() -> None:
    """Nothing is held, and what is gone was spent."""
    left = sum(Account.objects.get(pk=IDS[f"{2 * person}"]).get_simple_balance()["USD"].amount for person in people())
    held = sum(
        Account.objects.get(pk=IDS[f"{2 * person + 1}"]).get_simple_balance()["USD"].amount for person in people()
    )
    spent = Account.objects.get(pk=IDS["1"]).get_simple_balance()["USD"].amount
    if held or left + spent != PEOPLE * FUNDS:
        raise RuntimeError(f"left {left}, held {held}, spent {spent}")


def people() -> range:
    return range(1, PEOPLE + 1)


if __name__ == "__main__":
    if sys.argv[1:] == ["prepare"]:
        prepare()
    else:
        sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
        from bench.orders import obey

        IDS = dict(Account.objects.values_list("code", "pk"))
        obey({"spend": spend}, check)

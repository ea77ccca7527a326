"""How Atelier spends, and how the same is usually written with the ORM: `python -m bench.spenders atelier|orm`."""

from __future__ import annotations

import os
import random
import sys
from datetime import UTC, datetime, timedelta
from uuid import UUID

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("LOG_LEVEL", "ERROR")
django.setup()

from django.db import connection, transaction  # noqa: E402  Django had to be set up first
from django.db.models import F  # noqa: E402
from django.db.models.functions import Now  # noqa: E402

import audit  # noqa: E402
from bench.orders import obey  # noqa: E402
from billing import books, ledger  # noqa: E402
from billing.models import CreditLot, Debt, Hold, LedgerEntry, LedgerTransaction, Wallet  # noqa: E402
from core.ids import new_id  # noqa: E402

PRICE = int(os.environ["PRICE"])


def _people() -> list[UUID]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT md5(n::text)::uuid FROM generate_series(1, %s) n", [int(os.environ["PEOPLE"])])
        return [row[0] for row in cursor.fetchall()]


PEOPLE = _people()
ALARM = datetime.now(UTC) + timedelta(days=1)
SPENT, ISSUED = (Wallet.objects.get(user=None, kind=kind, unit="CREDIT") for kind in ("spent", "issued"))


def anybody() -> UUID:
    return random.choice(PEOPLE)


def hot() -> UUID:
    """Always the same person: everybody waits for one wallet."""
    return PEOPLE[0]


def full() -> UUID:
    """The next one whose ten lots are just what a spend costs."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT md5('lots:' || nextval('bench_turn'))::uuid")
        return UUID(str(cursor.fetchone()[0]))


def spend(user_id: UUID) -> None:
    job = new_id()
    key = f"atelier:{job}"
    ledger.hold(user_id=user_id, amount=PRICE, key=key, subject=("job", job), alarm_at=ALARM)
    ledger.capture(key=key)


def grant(user_id: UUID) -> None:
    sale = new_id()
    ledger.grant(user_id=user_id, amount=PRICE, category="paid", key=f"atelier:{sale}", subject=("sale", sale))


def grant_by_orm(user_id: UUID) -> None:
    sale = new_id()
    with transaction.atomic():
        wallet = Wallet.objects.select_for_update().get(user_id=user_id, kind="credits", unit="CREDIT")
        if Debt.objects.filter(user_id=user_id, unit="CREDIT", remaining__gt=0).exists():
            raise ValueError("debt to repay")
        wallet.balance = (wallet.balance or 0) + PRICE
        wallet.save(update_fields=["balance"])
        done = LedgerTransaction.objects.create(
            kind="grant", key=f"orm:{sale}", unit="CREDIT", subject_type="sale", subject_id=sale
        )
        LedgerEntry.objects.bulk_create(
            [
                LedgerEntry(transaction=done, wallet=wallet, amount=PRICE, balance_after=wallet.balance),
                LedgerEntry(transaction=done, wallet=ISSUED, amount=-PRICE),
            ]
        )
        CreditLot.objects.create(
            wallet=wallet,
            transaction=done,
            category="paid",
            amount=PRICE,
            remaining=PRICE,
            source_type="sale",
            source_id=sale,
        )
        audit.record("credits.granted", ("sale", sale), user=user_id, new={"amount": PRICE})


def spend_by_orm(user_id: UUID) -> None:
    job = new_id()
    key = f"orm:{job}"
    with transaction.atomic():
        wallet = Wallet.objects.select_for_update().get(user_id=user_id, kind="credits", unit="CREDIT")
        if Debt.objects.filter(user_id=user_id, remaining__gt=0, is_blocking=True).exists():
            raise ValueError("debt outstanding")
        if wallet.available < PRICE:
            raise ValueError("insufficient credits")
        wallet.held += PRICE
        wallet.save(update_fields=["held"])
        hold = Hold.objects.create(
            wallet=wallet,
            key=key,
            opening_amount=PRICE,
            amount=PRICE,
            subject_type="job",
            subject_id=job,
            alarm_at=ALARM,
        )
        audit.record("credits.held", ("job", job), user=user_id, new={"amount": PRICE}, metadata={"hold": key})
    with transaction.atomic():
        wallet = Wallet.objects.select_for_update().get(pk=wallet.pk)
        hold = Hold.objects.select_for_update().get(key=key)
        need = hold.amount
        live = CreditLot.objects.select_for_update().filter(wallet=wallet, exhausted_at=None)
        for lot in live.order_by(F("expires_at").asc(nulls_last=True), "category", "pk"):
            take = min(need, lot.remaining - lot.frozen)
            lot.remaining -= take
            lot.exhausted_at = None if lot.remaining else datetime.now(UTC)
            lot.save(update_fields=["remaining", "exhausted_at"])
            need -= take
            if not need:
                break
        wallet.balance = (wallet.balance or 0) - hold.amount
        wallet.held -= hold.amount
        wallet.save(update_fields=["balance", "held"])
        done = LedgerTransaction.objects.create(
            kind="spend", key=f"{key}:capture", unit="CREDIT", subject_type="job", subject_id=job
        )
        LedgerEntry.objects.bulk_create(
            [
                LedgerEntry(transaction=done, wallet=wallet, amount=-hold.amount, balance_after=wallet.balance),
                LedgerEntry(transaction=done, wallet=SPENT, amount=hold.amount),
            ]
        )
        hold.state, hold.captured, hold.closed_at = "captured", hold.amount, Now()
        hold.save(update_fields=["state", "captured", "closed_at"])
        audit.record("credits.captured", ("job", job), user=user_id, new={"amount": PRICE}, metadata={"hold": key})


def check() -> None:
    found = books.run()
    if not found.is_clean:
        raise RuntimeError(found.findings[:5])


if __name__ == "__main__":
    does = {"atelier": (spend, grant), "orm": (spend_by_orm, grant_by_orm)}[sys.argv[1]]
    obey(
        {
            "spend": lambda: does[0](anybody()),
            "grant": lambda: does[1](anybody()),
            "lots": lambda: does[0](full()),
            "hot": lambda: does[0](hot()),
        },
        check,
    )

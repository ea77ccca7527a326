"""What PostgreSQL itself refuses, whoever asks."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import psycopg
import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from uuid_utils.compat import uuid7

from billing.models import CreditLot, Hold, LedgerEntry, LedgerTransaction, Wallet
from core.ids import new_id
from tests import books
from tests.billing import given

pytestmark = pytest.mark.django_db


def refused(sql: str, error: type[Exception], words: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # as after a commit: nothing is left to be checked
    with pytest.raises(error, match=words), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql)


@pytest.mark.parametrize("table", ["billing_ledgertransaction", "billing_ledgerentry"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {} SET id = id",
        "UPDATE {} SET id = id WHERE false",
        "DELETE FROM {}",
        "DELETE FROM {} WHERE false",
        "TRUNCATE {}",
        "TRUNCATE {} CASCADE",
        "INSERT INTO {0} SELECT * FROM {0} ON CONFLICT (id) DO UPDATE SET id = excluded.id",
    ],
)
def test_the_ledger_is_only_ever_added_to(table: str, statement: str) -> None:
    user = given.person()
    given.bought(user, 10)

    refused(statement.format(table), DatabaseError, "belongs to the ledger|cannot truncate")

    assert LedgerTransaction.objects.count() == 1
    assert LedgerEntry.objects.count() == 2
    books.check()


@pytest.mark.parametrize("table", ["wallet", "hold", "creditlot", "freeze", "debt"])
@pytest.mark.parametrize("statement", ["DELETE FROM {}", "DELETE FROM {} WHERE false", "TRUNCATE {} CASCADE"])
def test_what_the_ledger_speaks_of_is_never_deleted(table: str, statement: str) -> None:
    refused(statement.format(f"billing_{table}"), DatabaseError, "belongs to the ledger")


def test_truncating_users_does_not_reach_the_ledger() -> None:
    given.bought(given.person(), 10)

    refused("TRUNCATE accounts_user CASCADE", DatabaseError, "belongs to the ledger")


@pytest.mark.parametrize(
    "change",
    [
        "held = -1",
        "frozen = -1",
        "balance = held + frozen - 1",
        "held = balance + 1",
        "frozen = balance + 1",
        "balance = NULL",
        "kind = 'sales'",
        "kind = 'gateway_razorpay'",
        "kind = 'primary'",
        "unit = 'NGN'",
        "user_id = NULL",
    ],
)
def test_a_persons_wallet_covers_what_it_promises(change: str) -> None:
    user = given.person()
    given.bought(user, 10)
    given.held(user, 4)

    refused(
        f"UPDATE billing_wallet SET {change} WHERE kind = 'credits' AND user_id = '{user.pk}'",
        IntegrityError,
        "wallet_|unique",
    )


@pytest.mark.parametrize("change", ["balance = 0", "held = 1", "kind = 'credits'", "kind = 'Gateway_x'", "kind = ''"])
def test_a_house_wallet_stores_no_balance(change: str) -> None:
    refused(f"UPDATE billing_wallet SET {change} WHERE kind = 'spent'", IntegrityError, "wallet_")


@pytest.mark.parametrize(
    ("table", "change", "rule"),
    [
        ("creditlot", "remaining = -1", "lot_"),
        ("creditlot", "remaining = amount + 1", "lot_"),
        ("creditlot", "frozen = remaining + 1, frozen_at = now()", "lot_"),
        ("creditlot", "frozen = 1", "lot_"),
        ("creditlot", "remaining = 0", "lot_"),
        ("creditlot", "exhausted_at = now()", "lot_"),
        ("creditlot", "category = 'free'", "lot_"),
        ("hold", "state = 'captured'", "hold_"),
        ("hold", "state = 'captured', captured = amount + 1, closed_at = now()", "hold_"),
        ("hold", "state = 'captured', captured = 0, closed_at = now()", "hold_"),
        ("hold", "state = 'released', captured = 1, closed_at = now()", "hold_"),
        ("hold", "state = 'gone'", "hold_"),
        ("hold", "amount = 0", "hold_"),
    ],
)
def test_lots_and_holds_keep_their_figures_together(table: str, change: str, rule: str) -> None:
    user = given.person()
    given.bought(user, 10)
    given.held(user, 4)

    refused(f"UPDATE billing_{table} SET {change}", IntegrityError, rule)


def test_names_happen_once() -> None:
    user = given.person()
    given.bought(user, 10)
    key = given.held(user, 4)
    wallet = given.wallet(user)

    for again in (
        Wallet(user=user, kind="credits", unit="CREDIT", balance=0),
        Wallet(kind="spent", unit="CREDIT"),
        Hold(
            wallet=wallet, key=key, opening_amount=1, amount=1, subject_type="job", subject_id=user.pk,
            alarm_at=given.later(),
        ),
        LedgerTransaction(
            kind="grant", unit="CREDIT", subject_type="x", subject_id=user.pk,
            key=LedgerTransaction.objects.get().key,
        ),
    ):  # fmt: skip
        with pytest.raises(IntegrityError), transaction.atomic():
            again.save(force_insert=True)


def test_an_entry_moves_something() -> None:
    user = given.person()
    given.bought(user, 10)

    refused(
        "INSERT INTO billing_ledgerentry (transaction_id, wallet_id, amount)"
        " SELECT transaction_id, wallet_id, 0 FROM billing_ledgerentry",
        IntegrityError,
        "ledger_entry_moves_something",
    )


@pytest.mark.parametrize("amounts", [(5,), (5, -4), (-1, -1)])
def test_an_unbalanced_posting_cannot_be_written(amounts: tuple[int, ...]) -> None:
    user = given.person()
    given.bought(user, 10)
    known, wallet = LedgerTransaction.objects.get(), given.wallet(user)

    with pytest.raises(IntegrityError, match="must sum to zero"), transaction.atomic():
        LedgerEntry.objects.bulk_create(
            LedgerEntry(transaction=known, wallet=wallet, amount=amount) for amount in amounts
        )


def copied(table: str, columns: str, *rows: tuple[object, ...]) -> None:
    """Bring rows in as no function of ours does."""
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def test_copy_gets_no_unbalanced_posting_in_and_what_balances_is_named() -> None:
    user = given.person()
    given.bought(user, 10)
    known, wallet, house = (
        LedgerTransaction.objects.get(),
        given.wallet(user),
        Wallet.objects.get(kind="spent", unit="CREDIT"),
    )
    sides = [(known.pk, wallet.pk, 5), (known.pk, house.pk, -5)]

    for unbalanced in (sides[:1], [*sides, (known.pk, wallet.pk, 1)]):
        with pytest.raises(psycopg.IntegrityError, match="must sum to zero"), transaction.atomic():
            copied("billing_ledgerentry", "transaction_id, wallet_id, amount", *unbalanced)
    with pytest.raises(psycopg.IntegrityError, match="moves_something"), transaction.atomic():
        copied("billing_ledgerentry", "transaction_id, wallet_id, amount", (known.pk, wallet.pk, 0))
    books.check()
    copied("billing_ledgerentry", "transaction_id, wallet_id, amount", *sides)

    with pytest.raises(AssertionError, match=str(wallet.pk)):
        books.check()


def test_a_person_with_wallets_is_never_deleted() -> None:
    user = given.person()
    given.bought(user, 10)

    refused(f"DELETE FROM accounts_user WHERE id = '{user.pk}'", IntegrityError, "foreign key")


def test_ids_made_in_the_database_sort_by_birth_beside_pythons() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT ledger_new_id() FROM generate_series(1, 200)")
        made = [row[0] for row in cursor.fetchall()]

    assert len(set(made)) == 200
    assert {(found.version, found.variant) for found in made} == {(7, uuid.RFC_4122)}
    born = datetime.fromtimestamp((made[0].int >> 80) / 1000, UTC)
    assert abs((born - datetime.now(UTC)).total_seconds()) < 60
    assert [found.int >> 64 for found in made] == sorted(found.int >> 64 for found in made)
    assert made[-1] < uuid7() or (made[-1].int >> 80) == (new_id().int >> 80)


def test_lots_of_a_wallet_are_numbered_in_order() -> None:
    user = given.person()
    sales = [given.bought(user, 1) for _ in range(20)]

    assert list(CreditLot.objects.order_by("pk").values_list("source_id", flat=True)) == sales

"""check_books finds and names what was broken behind the ledger's back, and nothing else."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from structlog.testing import capture_logs

from accounts.models import User
from billing import books, grants, ledger, tasks
from billing.books import metrics, watch
from billing.models import BookCheck, CreditLot, Debt, Freeze, Hold, LedgerEntry, LedgerTransaction, SignUpGrant
from core.ids import new_id
from tests.billing import given

pytestmark = pytest.mark.django_db


def corrupt(sql: str, *values: object) -> None:
    """Change rows as nobody can through the ledger: without its triggers and foreign keys."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(sql, list(values) or None)
        cursor.execute("SET LOCAL session_replication_role = origin")


@pytest.fixture
def alice(db: None) -> User:
    """Somebody with a bit of everything."""
    user = given.person()
    grants.sign_up(user=user)
    sale = given.bought(user, 100)
    given.bought(user, 40, category="subscription", expires_at=given.later(days=30))
    given.spent(user, 20)
    given.held(user, 10)
    ledger.release(key=given.held(user, 5))
    ledger.freeze(user_id=user.pk, amount=15, key="freeze", subject=("dispute", new_id()), source=("sale", sale))
    given.topped_up(user, 5000)
    other = given.bought(user, 30, category="promo")
    ledger.claw_back(user_id=user.pk, amount=50, key="claw", subject=("refund", new_id()), source=("sale", other))
    given.bought(user, 10)
    ledger.expire(user_id=user.pk)
    assert books.run().is_clean
    return user


def _ids(user: User) -> dict[str, Any]:
    wallet = given.wallet(user)
    spend = LedgerTransaction.objects.get(kind="spend")
    return {
        "wallet": wallet.pk,
        "money": given.wallet(user, "primary").pk,
        "spend": spend.pk,
        "mine": spend.entries.get(wallet=wallet).pk,
        "theirs": spend.entries.exclude(wallet=wallet).get().pk,
        "lot": CreditLot.objects.get(amount=100).pk,
        "ending": CreditLot.objects.get(amount=40).pk,
        "captured": Hold.objects.get(state="captured").pk,
        "open": Hold.objects.get(state="open").pk,
        "released": Hold.objects.get(state="released").pk,
        "freeze": Freeze.objects.get().pk,
        "debt": Debt.objects.get().pk,
        "grant": SignUpGrant.objects.get(user=user).pk,
        "sign_up": LedgerTransaction.objects.get(key__startswith="sign-up:").pk,
        "nobody": new_id(),
    }


# What is changed → the check that must name which row. Names in braces are ids of `_ids`.
CORRUPTIONS = [
    ("UPDATE billing_ledgerentry SET amount = amount + 1 WHERE id = {theirs}", "entries_balance", "spend"),
    ("UPDATE billing_ledgerentry SET amount = amount - 1 WHERE id = {mine}", "balance", "wallet"),
    ("UPDATE billing_ledgerentry SET amount = amount - 1 WHERE id = {mine}", "chain", "mine"),
    ("UPDATE billing_ledgerentry SET amount = amount - 1 WHERE id = {mine}", "captures", "captured"),
    ("DELETE FROM billing_ledgerentry WHERE transaction_id = '{spend}'", "entries_balance", "spend"),
    ("DELETE FROM billing_ledgerentry WHERE id = {theirs}", "entries_balance", "spend"),
    ("UPDATE billing_ledgerentry SET wallet_id = '{nobody}' WHERE id = {theirs}", "entries_belong", "theirs"),
    ("DELETE FROM billing_ledgertransaction WHERE id = '{spend}'", "entries_belong", "mine"),
    ("DELETE FROM billing_ledgertransaction WHERE id = '{spend}'", "captures", "captured"),
    ("UPDATE billing_ledgertransaction SET unit = 'NGN' WHERE id = '{spend}'", "entries_belong", "mine"),
    ("UPDATE billing_ledgerentry SET balance_after = 1 WHERE id = {theirs}", "entries_belong", "theirs"),
    ("UPDATE billing_ledgerentry SET balance_after = NULL WHERE id = {mine}", "entries_belong", "mine"),
    ("UPDATE billing_ledgerentry SET balance_after = balance_after + 1 WHERE id = {mine}", "chain", "mine"),
    ("UPDATE billing_wallet SET balance = balance + 5 WHERE id = '{wallet}'", "balance", "wallet"),
    ("UPDATE billing_wallet SET balance = balance + 5 WHERE id = '{wallet}'", "lots", "wallet"),
    ("UPDATE billing_wallet SET balance = balance + 5 WHERE id = '{money}'", "balance", "money"),
    ("UPDATE billing_wallet SET held = held + 1 WHERE id = '{wallet}'", "held", "wallet"),
    ("UPDATE billing_hold SET amount = amount + 1 WHERE id = '{open}'", "held", "wallet"),
    ("DELETE FROM billing_hold WHERE id = '{open}'", "held", "wallet"),
    ("UPDATE billing_creditlot SET remaining = remaining - 1 WHERE id = '{lot}'", "lots", "wallet"),
    ("DELETE FROM billing_creditlot WHERE id = '{lot}'", "lots", "wallet"),
    ("UPDATE billing_creditlot SET wallet_id = '{money}' WHERE id = '{lot}'", "lots", "money"),
    ("UPDATE billing_creditlot SET amount = amount + 1 WHERE id = '{lot}'", "lots_are_granted", "lot"),
    ("UPDATE billing_creditlot SET transaction_id = '{nobody}' WHERE id = '{lot}'", "lots_are_granted", "lot"),
    ("UPDATE billing_wallet SET frozen = frozen - 1 WHERE id = '{wallet}'", "frozen", "wallet"),
    ("UPDATE billing_freeze SET amount = amount - 1 WHERE id = '{freeze}'", "frozen", "wallet"),
    ("UPDATE billing_creditlot SET frozen = frozen - 1 WHERE id = '{lot}'", "frozen", "wallet"),
    ("UPDATE billing_wallet SET next_expiry_at = NULL WHERE id = '{wallet}'", "next_expiry", "wallet"),
    ("UPDATE billing_creditlot SET expires_at = now() WHERE id = '{ending}'", "next_expiry", "wallet"),
    ("UPDATE billing_hold SET captured = captured - 1 WHERE id = '{captured}'", "captures", "captured"),
    ("UPDATE billing_hold SET state = 'released', captured = 0 WHERE id = '{captured}'", "captures", "captured"),
    ("UPDATE billing_hold SET state = 'captured', captured = 1 WHERE id = '{released}'", "captures", "released"),
    ("UPDATE billing_hold SET subject_id = '{nobody}' WHERE id = '{captured}'", "captures", "captured"),
    ("DELETE FROM billing_hold WHERE id = '{captured}'", "captures", "spend"),
    ("UPDATE billing_hold SET alarm_at = now() - interval '1 second' WHERE id = '{open}'", "holds_end", "open"),
    ("UPDATE billing_debt SET remaining = remaining - 1 WHERE id = '{debt}'", "debts", "debt"),
    ("UPDATE billing_debt SET waived = 1 WHERE id = '{debt}'", "debts", "debt"),
    ("DELETE FROM billing_ledgertransaction WHERE id = '{sign_up}'", "sign_up_grants", "grant"),
    ("DELETE FROM billing_signupgrant WHERE id = '{grant}'", "sign_up_grants", "sign_up"),
    ("ALTER TABLE billing_ledgerentry DISABLE TRIGGER ledger_append_only", "guards", None),
    ("DROP TRIGGER ledger_append_only ON billing_ledgertransaction", "guards", None),
    ("ALTER TABLE billing_ledgerentry DISABLE TRIGGER ledger_balanced", "guards", None),
    ("ALTER TABLE billing_wallet ENABLE REPLICA TRIGGER ledger_keep", "guards", None),
]


@pytest.mark.parametrize(("sql", "check", "row"), CORRUPTIONS, ids=[f"{check}: {sql}" for sql, check, _ in CORRUPTIONS])
def test_each_kind_of_corruption_is_found_and_named(alice: User, sql: str, check: str, row: str | None) -> None:
    ids = _ids(alice)
    corrupt(sql.format(**ids))

    for since in (None, datetime.now(UTC) - timedelta(hours=1)):
        found = [finding for finding in books.run(since=since).findings if finding.check == check]
        assert found, f"{check} is blind to it"
        assert row is None or any(str(ids[row]) in finding.row for finding in found), found
        assert all(finding.problem for finding in found)


def test_untouched_wallets_are_left_to_the_full_check(alice: User) -> None:
    corrupt("UPDATE billing_wallet SET balance = balance + 5 WHERE id = %s", given.wallet(alice).pk)

    assert books.run(since=datetime.now(UTC) + timedelta(minutes=1)).is_clean
    assert not books.run().is_clean


def test_the_command_is_silent_about_clean_books_but_for_one_line(alice: User) -> None:
    out = io.StringIO()

    call_command("check_books", stdout=out)

    assert out.getvalue().startswith("The books balance (")
    assert out.getvalue().count("\n") == 1


def test_the_command_names_rows_and_exits_non_zero(alice: User) -> None:
    wallet = given.wallet(alice)
    corrupt("UPDATE billing_wallet SET held = held + 1 WHERE id = %s", wallet.pk)
    out = io.StringIO()

    with pytest.raises(SystemExit) as ended:
        call_command("check_books", stdout=out)

    assert ended.value.code == 1
    assert f"held: wallet {wallet.pk}: held 11, open holds sum to 10" in out.getvalue()
    assert "1 rows break the books" in out.getvalue()


def test_the_command_speaks_json(alice: User) -> None:
    wallet = given.wallet(alice)
    corrupt("UPDATE billing_wallet SET held = held + 1 WHERE id = %s", wallet.pk)
    out = io.StringIO()

    with pytest.raises(SystemExit):
        call_command("check_books", "--json", "--since", "01:00:00", stdout=out)

    told = orjson.loads(out.getvalue())
    assert told["is_clean"] is False
    assert told["findings"] == [
        {"check": "held", "row": f"wallet {wallet.pk}", "problem": "held 11, open holds sum to 10"}
    ]
    assert "held" in told["checks"]
    assert told["since"]


@pytest.mark.parametrize("since", ["yesterday", "-01:00:00", "2026-13-45T00:00Z", "0"])
def test_the_command_refuses_a_moment_it_cannot_read(since: str) -> None:
    with pytest.raises(CommandError, match="neither a time nor a span"):
        call_command("check_books", f"--since={since}")


@pytest.mark.django_db(transaction=True)
def test_the_snapshot_is_read_only_and_one_for_all_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str]] = []

    def look() -> tuple[books.Check, ...]:
        return (
            books.Check("level", "", "SELECT current_setting('transaction_isolation'), ''"),
            books.Check("mode", "", "SELECT current_setting('transaction_read_only'), ''"),
        )

    monkeypatch.setattr("generation.books.checks", look)
    seen = [(finding.check, finding.row) for finding in books.run().findings]

    assert seen == [("level", "repeatable read"), ("mode", "on")]


def test_the_standing_check_keeps_its_result_and_does_not_hurry(alice: User) -> None:
    first = books.check_due()

    assert first is not None
    assert (first.is_clean, first.since, first.findings) == (True, None, [])
    assert books.check_due() is None
    assert BookCheck.objects.count() == 1


def test_the_task_is_safe_twice(alice: User) -> None:
    tasks.check_books()
    tasks.check_books()

    assert BookCheck.objects.get().is_clean


def test_after_a_full_check_only_what_was_touched_is_looked_at(alice: User) -> None:
    books.check_due()
    _age(minutes=5)

    second = books.check_due()

    assert second is not None
    assert second.since is not None
    assert timedelta(minutes=19) < second.began_at - second.since < timedelta(minutes=21)


def test_a_night_later_everything_is_looked_at(alice: User) -> None:
    books.check_due()
    _age(hours=24)
    BookCheck.objects.create(since=given.later(hours=-1), began_at=given.later(minutes=-5), took_ms=1, is_clean=True)

    second = books.check_due()

    assert second is not None
    assert second.since is None


def test_broken_books_are_told_until_they_are_mended(alice: User) -> None:
    books.check_due()
    _age(minutes=5)
    wallet = given.wallet(alice)
    corrupt("UPDATE billing_wallet SET held = held + 1 WHERE id = %s", wallet.pk)

    with capture_logs() as lines:
        broken = books.check_due()
    _age(minutes=30)
    corrupt("UPDATE billing_wallet SET updated_at = now() - interval '1 year' WHERE id = %s", wallet.pk)
    still = books.check_due()

    assert broken is not None
    assert still is not None
    assert [broken.is_clean, still.is_clean] == [False, False]
    assert still.since is None
    assert broken.findings == [
        {"check": "held", "row": f"wallet {wallet.pk}", "problem": "held 11, open holds sum to 10"}
    ]
    assert lines == [
        {"event": "books_broken", "log_level": "error"} | broken.findings[0],
    ]
    told = {sample.name: sample.value for family in metrics.families() for sample in family.samples}
    assert told["books_findings"] == 1
    corrupt("UPDATE billing_wallet SET held = held - 1 WHERE id = %s", wallet.pk)
    _age(minutes=30)
    mended = books.check_due()
    assert mended is not None
    assert mended.is_clean


def test_old_clean_results_are_dropped_and_broken_ones_stay(alice: User) -> None:
    for is_clean in (True, False):
        BookCheck.objects.create(since=None, began_at=given.later(days=-40), took_ms=1, is_clean=is_clean)

    watch.check_due()

    assert BookCheck.objects.filter(began_at__lt=given.later(days=-1)).values_list("is_clean", flat=True).get() is False


def test_metrics_tell_what_the_ledger_holds(alice: User) -> None:
    books.check_due()

    told = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in metrics.families()
        for sample in family.samples
    }

    assert told["books_findings",] == 0
    assert 0 <= told["books_checked_seconds_ago", "full"] < 60
    assert told["holds_open", "False", "job"] == 1
    assert told["debts_open", "CREDIT"] == Debt.objects.get().remaining


def _age(**span: float) -> None:
    """Let every kept result be that much older."""
    for row in BookCheck.objects.all():
        BookCheck.objects.filter(pk=row.pk).update(began_at=row.began_at - timedelta(**span))


def test_the_entries_of_everything_sum_to_zero_per_unit(alice: User) -> None:
    sums: dict[str, int] = {}
    for entry in LedgerEntry.objects.select_related("transaction"):
        sums[entry.transaction.unit] = sums.get(entry.transaction.unit, 0) + entry.amount

    assert sums == {"CREDIT": 0, "NGN": 0}
    assert isinstance(given.wallet(alice).pk, UUID)

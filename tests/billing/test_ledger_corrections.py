"""transfer, adjust."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from audit.models import AuditLog
from billing import ledger
from billing.errors import DebtOutstanding, InsufficientFunds, LedgerKeyMismatch
from billing.models import LedgerTransaction, Wallet
from core.ids import new_id
from tests import books
from tests.billing import given

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _books() -> Iterator[None]:
    yield
    books.check()


def between(user: object, other: object, amount: int, *, key: str = "t", **change: object) -> ledger.Posted:
    asked: dict[str, object] = {
        "from_id": given.wallet(user, "primary").pk,  # type: ignore[arg-type]
        "to_id": given.wallet(other, "calls").pk,  # type: ignore[arg-type]
        "amount": amount,
        "key": key,
        "subject": ("user", user.pk),  # type: ignore[attr-defined]
    }
    return ledger.transfer(**asked | change)  # type: ignore[arg-type]


def test_transfer_moves_money_between_wallets_once() -> None:
    user = given.person()
    given.topped_up(user, 1000)

    first, again = between(user, user, 300), between(user, user, 300)

    assert (again.transaction_id, again.is_replay) == (first.transaction_id, True)
    assert (given.wallet(user, "primary").balance, given.wallet(user, "calls").balance) == (700, 300)
    entries = LedgerTransaction.objects.get(kind="transfer").entries
    assert sorted(entries.values_list("amount", "balance_after")) == [(-300, 700), (300, 300)]
    with pytest.raises(LedgerKeyMismatch):
        between(user, user, 301)


def test_transfer_takes_only_what_is_available() -> None:
    user = given.person()
    given.topped_up(user, 1000)
    given.held(user, 800, unit="NGN", wallet_kind="primary")

    with pytest.raises(InsufficientFunds) as refused:
        between(user, user, 201)

    assert refused.value.details[0]["available"] == 200
    assert given.wallet(user, "calls").balance == 0


def test_credits_and_other_units_and_house_wallets_are_not_transferred() -> None:
    user, other = given.person(), given.person()
    given.bought(user, 100)
    given.topped_up(user, 100)
    given.topped_up(other, 100, unit="USD")
    dollars = Wallet.objects.get(user=other, unit="USD").pk
    sales = Wallet.objects.get(user=None, kind="adjustment", unit="NGN").pk

    for wrong in (
        {"from_id": given.wallet(user).pk, "to_id": given.wallet(other).pk},
        {"to_id": dollars},
        {"to_id": sales},
        {"to_id": new_id()},
        {"to_id": given.wallet(user, "primary").pk},
    ):
        with pytest.raises(ValueError, match=r"transfer|house"):
            between(user, other, 10, **wrong)

    assert not LedgerTransaction.objects.filter(kind="transfer").exists()


def test_debt_of_a_lost_dispute_blocks_transfers() -> None:
    user = given.person()
    given.topped_up(user, 1000)
    sale = given.bought(user, 10)
    given.spent(user, 10)
    ledger.claw_back(
        user_id=user.pk, amount=10, key="d", subject=("dispute", new_id()), source=("sale", sale), is_blocking=True
    )

    with pytest.raises(DebtOutstanding):
        between(user, user, 1)


def test_adjust_up_is_a_lot_and_down_takes_what_is_available() -> None:
    user, staff = given.person(), given.person()
    case = ("case", new_id())

    up = ledger.adjust(user_id=user.pk, amount=50, key="a1", subject=case, memo="sorry", actor_id=staff.pk)
    given.held(user, 20)
    down = ledger.adjust(user_id=user.pk, amount=-40, key="a2", subject=case, memo="oops", actor_id=staff.pk)
    again = ledger.adjust(user_id=user.pk, amount=-40, key="a2", subject=case, memo="oops", actor_id=staff.pk)

    assert (up.amount, up.balance) == (50, 50)
    assert (down.amount, down.balance, down.is_replay) == (-30, 20, False)
    assert (again.amount, again.balance, again.is_replay) == (-30, 20, True)
    assert given.house("adjustment") == -20
    assert given.lots(user) == [("promo", 20)]
    told = AuditLog.objects.filter(action="credits.adjusted").order_by("id")
    assert [row.new["amount"] for row in told] == [50, -30]


def test_the_same_adjustment_with_other_figures_is_refused() -> None:
    user = given.person()
    case = ("case", new_id())
    ledger.adjust(user_id=user.pk, amount=50, key="a", subject=case, memo="")

    for amount in (51, -50):
        with pytest.raises(LedgerKeyMismatch):
            ledger.adjust(user_id=user.pk, amount=amount, key="a", subject=case, memo="")


def test_adjusting_down_what_is_not_there_posts_nothing() -> None:
    user = given.person()

    done = ledger.adjust(user_id=user.pk, amount=-5, key="a", subject=("case", new_id()), memo="")

    assert (done.amount, done.balance) == (0, 0)
    assert not LedgerTransaction.objects.exists()


def test_money_is_adjusted_without_lots() -> None:
    user = given.person()

    ledger.adjust(
        user_id=user.pk, amount=700, key="a", subject=("case", new_id()), memo="", unit="NGN", wallet_kind="calls"
    )
    ledger.adjust(
        user_id=user.pk, amount=-200, key="b", subject=("case", new_id()), memo="", unit="NGN", wallet_kind="calls"
    )

    assert given.wallet(user, "calls").balance == 500

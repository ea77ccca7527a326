"""open_wallets, grant, record_money."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from billing import ledger
from billing.errors import LedgerKeyMismatch
from billing.models import CreditLot, Debt, LedgerEntry, LedgerTransaction, Wallet
from core import context
from core.ids import new_id
from tests import books
from tests.billing import given
from tests.people import make_user

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _books() -> Iterator[None]:
    yield
    books.check()


def owing(amount: int, *, is_blocking: bool = False) -> tuple[object, Debt]:
    """Somebody whose spent credits were refunded."""
    user = given.person()
    sale = given.bought(user, amount)
    given.spent(user, amount)
    ledger.claw_back(
        user_id=user.pk,
        amount=amount,
        key=f"refund:{sale}",
        subject=("refund", new_id()),
        source=("sale", sale),
        is_blocking=is_blocking,
    )
    return user, Debt.objects.get(user=user)


def test_everybody_has_three_wallets_from_registration_on() -> None:
    user = make_user(verified=False)

    assert sorted(Wallet.objects.filter(user=user).values_list("kind", "unit", "balance")) == [
        ("calls", "NGN", 0),
        ("credits", "CREDIT", 0),
        ("primary", "NGN", 0),
    ]
    ledger.open_wallets(user=user)
    assert Wallet.objects.filter(user=user).count() == 3


def test_grant_issues_credits_as_a_lot_of_its_source() -> None:
    user, staff = given.person(), given.person()
    payment = new_id()

    granted = ledger.grant(
        user_id=user.pk,
        amount=100,
        category="paid",
        key=f"sale:{payment}:grant",
        kind="purchase",
        subject=("sale", payment),
        actor_id=staff.pk,
        memo="BASIC",
    )

    assert (granted.balance, granted.repaid, granted.is_replay) == (100, 0, False)
    written = LedgerTransaction.objects.get(pk=granted.transaction_id)
    assert (written.kind, written.unit, written.actor_id, written.memo) == ("purchase", "CREDIT", staff.pk, "BASIC")
    assert (written.subject_type, written.subject_id) == ("sale", payment)
    lot = CreditLot.objects.get(transaction=written)
    assert (lot.category, lot.amount, lot.remaining, lot.expires_at) == ("paid", 100, 100, None)
    assert (lot.source_type, lot.source_id) == ("sale", payment)
    assert given.house("issued") == -100


def test_the_same_key_grants_once() -> None:
    user = given.person()
    sale = given.bought(user, 100)

    given.bought(user, 100, sale=sale)
    with pytest.raises(LedgerKeyMismatch):
        given.bought(user, 101, sale=sale)
    with pytest.raises(LedgerKeyMismatch):
        given.bought(given.person(), 100, sale=sale)
    with pytest.raises(LedgerKeyMismatch):
        given.bought(user, 100, sale=sale, category="promo")

    assert given.wallet(user).balance == 100
    assert CreditLot.objects.filter(wallet__user=user).count() == 1


def test_the_actor_is_whoever_acts() -> None:
    user, staff = given.person(), given.person()
    with context.use(source="ADMIN", actor_id=staff.pk):
        given.bought(user, 5)

    assert LedgerTransaction.objects.get(kind="purchase").actor_id == staff.pk


def test_a_wallet_opens_when_first_funded() -> None:
    user = given.person()

    given.topped_up(user, 500, unit="USD")

    assert Wallet.objects.get(user=user, kind="primary", unit="USD").balance == 500
    assert Wallet.objects.get(user=user, kind="primary", unit="NGN").balance == 0
    assert not CreditLot.objects.exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount": 0},
        {"amount": 1.5},
        {"category": None},
        {"category": "free"},
        {"unit": "NGN", "wallet_kind": "primary"},
        {"unit": "XXX", "category": None},
    ],
)
def test_a_grant_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    user = given.person()
    asked = {"user_id": user.pk, "amount": 5, "category": "paid", "key": "k", "subject": ("sale", new_id())}

    with pytest.raises(ValueError, match=r"amount|category|unit"):
        ledger.grant(**asked | wrong)

    assert not LedgerTransaction.objects.exists()


def test_a_purchase_repays_debt_out_of_itself() -> None:
    user, debt = owing(30)
    promo = given.bought(user, 10, category="promo")

    sale = given.bought(user, 100)

    debt.refresh_from_db()
    assert debt.remaining == 0
    assert ledger.balance(user.pk) == ledger.Balance(80, 0, 0, 80, 0)
    assert given.lots(user) == [("promo", 10), ("paid", 70)]
    assert CreditLot.objects.get(source_id=promo).remaining == 10
    repayment = LedgerTransaction.objects.get(kind="debt_repayment")
    assert repayment.key == f"sale:{sale}:grant:debt:{debt.pk}"
    assert (repayment.subject_type, repayment.subject_id) == ("debt", debt.pk)
    amounts = LedgerEntry.objects.filter(wallet__user=user).order_by("id").values_list("amount", "balance_after")
    assert list(amounts)[-2:] == [(100, 110), (-30, 80)]


def test_a_smaller_purchase_repays_in_part_and_says_so_again() -> None:
    user, debt = owing(30)
    asked = {"user_id": user.pk, "amount": 20, "category": "paid", "key": "k", "subject": ("sale", new_id())}

    first, again = ledger.grant(**asked), ledger.grant(**asked)

    assert (first.balance, first.repaid) == (0, 20)
    assert (again.balance, again.repaid, again.is_replay) == (0, 20, True)
    debt.refresh_from_db()
    assert (debt.remaining, ledger.balance(user.pk).debt) == (10, 10)
    assert given.lots(user) == []


def test_promo_credits_repay_nothing() -> None:
    user, debt = owing(30)

    given.bought(user, 50, category="promo")

    debt.refresh_from_db()
    assert debt.remaining == 30
    assert ledger.balance(user.pk).available == 50


def test_subscription_credits_repay() -> None:
    user, debt = owing(30)

    given.bought(user, 50, category="subscription", expires_at=given.later())

    debt.refresh_from_db()
    assert debt.remaining == 0
    assert given.lots(user) == [("subscription", 20)]


def test_the_oldest_debt_is_repaid_first() -> None:
    user, first = owing(30)
    sale = given.bought(user, 35)
    given.spent(user, 5)
    ledger.claw_back(user_id=user.pk, amount=35, key="r2", subject=("refund", new_id()), source=("sale", sale))
    second = Debt.objects.get(cause="r2")
    assert (first.amount, second.remaining) == (30, 35)

    given.bought(user, 20)

    second.refresh_from_db()
    assert second.remaining == 15


def test_debt_in_one_unit_is_not_repaid_in_another() -> None:
    user, debt = owing(30)

    given.topped_up(user, 5000)

    debt.refresh_from_db()
    assert debt.remaining == 30
    assert given.wallet(user, "primary").balance == 5000


def test_money_through_a_gateway_is_recorded_and_mirrored() -> None:
    payment, refund = new_id(), new_id()
    asked = {"gateway": "nowhere", "amount": 49900, "currency": "INR"}

    first = ledger.record_money(**asked, key="payment:1:money", subject=("payment", payment))
    again = ledger.record_money(**asked, key="payment:1:money", subject=("payment", payment))

    assert (again.transaction_id, again.is_replay) == (first.transaction_id, True)
    assert (given.house("gateway_nowhere", "INR"), given.house("sales", "INR")) == (-49900, 49900)
    with pytest.raises(LedgerKeyMismatch):
        ledger.record_money(**asked | {"amount": 1}, key="payment:1:money", subject=("payment", payment))

    ledger.record_money(**asked, key="refund:1", kind="refund", subject=("refund", refund))

    assert (given.house("gateway_nowhere", "INR"), given.house("sales", "INR")) == (0, 0)


@pytest.mark.parametrize("wrong", [{"amount": -5}, {"currency": "RUPEES"}, {"kind": "spend"}, {"kind": "nonsense"}])
def test_money_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    asked = {"gateway": "nowhere", "amount": 5, "currency": "INR", "key": "k", "subject": ("payment", new_id())}

    with pytest.raises(ValueError, match=r"amount|unit|money|valid"):
        ledger.record_money(**asked | wrong)

"""freeze, thaw, claw_back, waive."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from audit.models import AuditLog
from billing import books, ledger
from billing.errors import HoldClosed, LedgerKeyMismatch
from billing.models import CreditLot, Debt, Freeze, LedgerTransaction, Wallet
from core.ids import new_id
from tests.billing import given

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _books() -> Iterator[None]:
    yield
    # Here a gateway's wallet moves without the payment that it answers to.
    assert [found for found in books.run().findings if found.check != "gateway_money"] == []


def test_freeze_keeps_one_sale_out_of_reach() -> None:
    user = given.person()
    sale = given.bought(user, 100)
    given.bought(user, 10)
    subject = ("refund", new_id())

    frozen = ledger.freeze(user_id=user.pk, amount=60, key="f", subject=subject, source=("sale", sale))
    again = ledger.freeze(user_id=user.pk, amount=60, key="f", subject=subject, source=("sale", sale))

    assert (frozen.amount, frozen.wanted, frozen.state) == (60, 60, "open")
    assert (again.freeze_id, again.amount) == (frozen.freeze_id, 60)
    assert ledger.balance(user.pk) == ledger.Balance(110, 0, 60, 50, 0)
    assert CreditLot.objects.get(source_id=sale).frozen == 60
    given.spent(user, 50)
    assert ledger.balance(user.pk).available == 0


def test_freeze_takes_the_rest_as_it_comes_free() -> None:
    user = given.person()
    sale = given.bought(user, 100)
    key = given.held(user, 70)
    asked = {"user_id": user.pk, "amount": 100, "key": "f", "subject": ("dispute", new_id()), "source": ("sale", sale)}

    first = ledger.freeze(**asked)
    ledger.release(key=key)
    rest = ledger.freeze(**asked)

    assert (first.amount, rest.amount, rest.wanted) == (30, 100, 100)
    assert ledger.balance(user.pk).available == 0


def test_freeze_never_takes_what_other_sales_brought() -> None:
    user = given.person()
    given.bought(user, 50, expires_at=given.later())
    sale = given.bought(user, 20)
    given.spent(user, 55)

    frozen = ledger.freeze(user_id=user.pk, amount=20, key="f", subject=("refund", new_id()), source=("sale", sale))

    assert frozen.amount == 15
    assert ledger.balance(user.pk).available == 0


def test_two_freezes_of_one_sale_thaw_apart() -> None:
    user = given.person()
    sale = given.bought(user, 100)
    for key in ("a", "b"):
        ledger.freeze(user_id=user.pk, amount=40, key=key, subject=("refund", new_id()), source=("sale", sale))

    ledger.thaw(key="a")

    assert ledger.balance(user.pk).frozen == 40
    assert CreditLot.objects.get(source_id=sale).frozen == 40
    assert ledger.thaw(key="a").state == "thawed"
    ledger.thaw(key="b")
    assert ledger.balance(user.pk).available == 100


@pytest.mark.parametrize("change", [{"amount": 41}, {"subject": ("refund", new_id())}, {"source": ("sale", new_id())}])
def test_the_same_freeze_with_other_figures_is_refused(change: dict[str, object]) -> None:
    user = given.person()
    asked = {
        "user_id": user.pk,
        "amount": 40,
        "key": "f",
        "subject": ("refund", new_id()),
        "source": ("sale", given.bought(user, 100)),
    }
    ledger.freeze(**asked)

    with pytest.raises(LedgerKeyMismatch):
        ledger.freeze(**asked | change)

    assert given.wallet(user).frozen == 40


def test_an_unknown_freeze_does_not_thaw() -> None:
    with pytest.raises(Freeze.DoesNotExist):
        ledger.thaw(key="nobody")


def test_money_is_frozen_on_its_wallet() -> None:
    user = given.person()
    given.topped_up(user, 500)

    frozen = ledger.freeze(
        user_id=user.pk, amount=800, key="f", subject=("dispute", new_id()), unit="NGN", wallet_kind="primary"
    )

    assert frozen.amount == 500
    assert given.wallet(user, "primary").available == 0
    ledger.thaw(key="f")
    assert given.wallet(user, "primary").available == 500


def test_claw_back_takes_what_is_left_of_the_sale_and_the_rest_is_debt() -> None:
    user = given.person()
    sale = given.bought(user, 100)
    given.spent(user, 30)
    given.bought(user, 50)
    subject = ("refund", new_id())
    asked = {"user_id": user.pk, "amount": 100, "key": "c", "subject": subject, "source": ("sale", sale)}

    first, again = ledger.claw_back(**asked), ledger.claw_back(**asked)

    debt = Debt.objects.get()
    assert first == ledger.ClawedBack(taken=70, owed=30, debt_id=debt.pk, is_replay=False)
    assert again == ledger.ClawedBack(taken=70, owed=30, debt_id=debt.pk, is_replay=True)
    assert (debt.cause, debt.amount, debt.remaining, debt.is_blocking) == ("c", 30, 30, False)
    assert (debt.subject_type, debt.subject_id) == subject
    assert ledger.balance(user.pk) == ledger.Balance(50, 0, 0, 50, 30)
    assert given.lots(user) == [("paid", 50)]
    assert given.house("issued") == -80
    assert AuditLog.objects.get(action="credits.clawed_back").new == {"taken": 70, "owed": 30, "balance": 50}


def test_claw_back_leaves_alone_what_is_held() -> None:
    user = given.person()
    sale = given.bought(user, 100)
    key = given.held(user, 60)

    clawed = ledger.claw_back(user_id=user.pk, amount=100, key="c", subject=("refund", new_id()), source=("sale", sale))

    assert (clawed.taken, clawed.owed) == (40, 60)
    assert ledger.capture(key=key).amount == 60


def test_claw_back_takes_what_its_freeze_kept() -> None:
    user = given.person()
    sale = given.bought(user, 100)
    given.bought(user, 10)
    refund = ("refund", new_id())
    ledger.freeze(user_id=user.pk, amount=80, key="f", subject=refund, source=("sale", sale))
    given.spent(user, 30)

    clawed = ledger.claw_back(
        user_id=user.pk, amount=80, key="c", subject=refund, source=("sale", sale), freeze_key="f"
    )

    assert (clawed.taken, clawed.owed) == (80, 0)
    assert Freeze.objects.get(key="f").state == "taken"
    assert given.wallet(user).frozen == 0
    with pytest.raises(HoldClosed):
        ledger.thaw(key="f")


def test_frozen_credits_are_taken_though_their_time_is_over() -> None:
    user = given.person()
    sale = given.bought(user, 100, expires_at=given.later())
    refund = ("refund", new_id())
    ledger.freeze(user_id=user.pk, amount=80, key="f", subject=refund, source=("sale", sale))
    ledger.end_lots(user_id=user.pk)

    clawed = ledger.claw_back(
        user_id=user.pk, amount=80, key="c", subject=refund, source=("sale", sale), freeze_key="f"
    )

    assert (clawed.taken, clawed.owed) == (80, 0)
    assert given.house("expired") == 20


def test_a_freeze_that_was_thawed_keeps_nothing_for_the_claw_back() -> None:
    user = given.person()
    sale = given.bought(user, 100)
    dispute = ("dispute", new_id())
    ledger.freeze(user_id=user.pk, amount=80, key="f", subject=dispute, source=("sale", sale))
    ledger.thaw(key="f")
    given.spent(user, 90)

    clawed = ledger.claw_back(
        user_id=user.pk, amount=80, key="c", subject=dispute, source=("sale", sale), freeze_key="f"
    )

    assert (clawed.taken, clawed.owed) == (10, 70)
    assert Freeze.objects.get(key="f").state == "thawed"


def test_what_is_frozen_beyond_the_claw_back_is_free_again() -> None:
    user = given.person()
    ending = given.later()
    sale = given.bought(user, 100, expires_at=ending)
    refund = ("refund", new_id())
    ledger.freeze(user_id=user.pk, amount=80, key="f", subject=refund, source=("sale", sale))
    CreditLot.objects.filter(source_id=sale).update(frozen_at=given.later(hours=-1))

    ledger.claw_back(user_id=user.pk, amount=30, key="c", subject=refund, source=("sale", sale), freeze_key="f")

    assert ledger.balance(user.pk) == ledger.Balance(70, 0, 0, 70, 0)
    lot = CreditLot.objects.get(source_id=sale)
    assert lot.expires_at is not None
    assert lot.expires_at - ending >= timedelta(minutes=59)


@pytest.mark.parametrize("change", [{"amount": 99}, {"subject": ("refund", new_id())}])
def test_the_same_claw_back_with_other_figures_is_refused(change: dict[str, object]) -> None:
    user = given.person()
    asked = {
        "user_id": user.pk,
        "amount": 100,
        "key": "c",
        "subject": ("refund", new_id()),
        "source": ("sale", given.bought(user, 100)),
    }
    ledger.claw_back(**asked)

    with pytest.raises(LedgerKeyMismatch):
        ledger.claw_back(**asked | change)

    assert LedgerTransaction.objects.filter(kind="clawback").count() == 1


def test_money_that_left_its_gateway_is_taken_or_written_off_until_repaid() -> None:
    user = given.person()
    given.topped_up(user, 1000)
    key = given.held(user, 700, unit="NGN", wallet_kind="primary")
    ledger.capture(key=key)

    clawed = ledger.claw_back(
        user_id=user.pk,
        amount=1000,
        key="c",
        subject=("dispute", new_id()),
        unit="NGN",
        wallet_kind="primary",
        house="gateway_nowhere",
        is_blocking=True,
    )

    assert (clawed.taken, clawed.owed) == (300, 700)
    assert given.house("gateway_nowhere", "NGN") == 1000
    assert given.house("writeoff", "NGN") == -700
    given.topped_up(user, 900)
    assert given.house("writeoff", "NGN") == 0
    assert Wallet.objects.get(user=user, kind="primary", unit="NGN").balance == 200


def test_a_waived_debt_is_gone_and_told() -> None:
    user, staff = given.person(), given.person()
    sale = given.bought(user, 100)
    given.spent(user, 100)
    ledger.claw_back(user_id=user.pk, amount=100, key="c", subject=("refund", new_id()), source=("sale", sale))
    given.bought(user, 40)
    debt = Debt.objects.get()

    ledger.waive(debt_id=debt.pk, reason="goodwill", actor_id=staff.pk)
    ledger.waive(debt_id=debt.pk, reason="goodwill", actor_id=staff.pk)

    debt.refresh_from_db()
    assert (debt.remaining, debt.waived) == (0, 60)
    row = AuditLog.objects.get(action="debt.waived")
    assert (row.actor_id, row.metadata["reason"]) == (staff.pk, "goodwill")


@pytest.mark.parametrize(
    "wrong", [{"source": None}, {"unit": "NGN", "wallet_kind": "primary"}, {"amount": 0}, {"amount": -1}]
)
@pytest.mark.parametrize("operation", [ledger.freeze, ledger.claw_back])
def test_taking_back_needs_a_source_for_credits_only(operation: object, wrong: dict[str, object]) -> None:
    user = given.person()
    asked = {
        "user_id": user.pk,
        "amount": 5,
        "key": "k",
        "subject": ("refund", new_id()),
        "source": ("sale", given.bought(user, 10)),
    }

    with pytest.raises(ValueError, match=r"source|amount"):
        operation(**asked | wrong)  # type: ignore[operator]

    assert ledger.balance(user.pk) == ledger.Balance(10, 0, 0, 10, 0)

"""The ledger under real concurrency: each thread has its own connection and commits."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction

from accounts.models import User
from billing import grants, ledger
from billing.errors import DebtOutstanding, HoldClosed, InsufficientCredits, InsufficientFunds, LedgerKeyMismatch
from billing.models import CreditLot, Debt, Hold, LedgerTransaction, SignUpGrant, Wallet
from core.ids import new_id
from tests import books
from tests.billing import given
from tests.billing.racing import crowd, race

pytestmark = pytest.mark.django_db(transaction=True)

REFUSALS = (InsufficientCredits, InsufficientFunds, DebtOutstanding, HoldClosed)


@pytest.fixture(autouse=True)
def _books() -> Iterator[None]:
    yield
    books.check()


def faults(answers: list[Any], *expected: type[Exception]) -> list[Any]:
    return [found for found in answers if isinstance(found, Exception) and not isinstance(found, expected)]


def test_a_thousand_spends_at_once_take_exactly_what_is_there() -> None:
    user = given.person()
    given.bought(user, 1000)
    given.bought(user, 773)

    answers = crowd(16, [partial(given.spent, user, 3) for _ in range(1000)])

    assert Counter(type(found) for found in answers) == {str: 591, InsufficientCredits: 409}
    assert ledger.balance(user.pk) == ledger.Balance(0, 0, 0, 0, 0)


def test_twenty_jobs_at_once_on_credits_for_two() -> None:
    user = given.person()
    given.bought(user, 100)

    answers = race(*[partial(given.held, user, 50)] * 20)

    assert Counter(type(found) for found in answers) == {str: 2, InsufficientCredits: 18}
    assert given.wallet(user).held == 100


def test_two_captures_over_two_lots_both_succeed() -> None:
    for _ in range(25):
        user = given.person()
        given.bought(user, 10)
        given.bought(user, 10)
        first, second = given.held(user, 15), given.held(user, 5)

        answers = race(partial(ledger.capture, key=first), partial(ledger.capture, key=second))

        assert faults(answers) == []
        assert ledger.balance(user.pk).balance == 0


@pytest.mark.parametrize("times", [10])
def test_capture_against_expiry(times: int) -> None:
    for _ in range(times):
        user = given.person()
        given.bought(user, 30, expires_at=given.later())
        key = given.held(user, 20)

        answers = race(
            partial(ledger.capture, key=key),
            partial(ledger.end_lots, user_id=user.pk),
            partial(ledger.expire, user_id=user.pk),
        )

        assert faults(answers) == []
        assert answers[0].amount == 20
        assert ledger.balance(user.pk).balance == 0
        assert -sum(e.amount for e in given.wallet(user).entries.filter(transaction__kind="expiry")) == 10


def test_capture_against_freeze() -> None:
    for _ in range(10):
        user = given.person()
        sale = given.bought(user, 30)
        key = given.held(user, 20)

        answers = race(
            partial(ledger.capture, key=key),
            partial(
                ledger.freeze, user_id=user.pk, amount=30, key=f"f{sale}", subject=("r", sale), source=("sale", sale)
            ),
        )

        assert faults(answers) == []
        assert (answers[0].amount, answers[1].amount) == (20, 10)


def test_capture_against_claw_back() -> None:
    for _ in range(10):
        user = given.person()
        sale = given.bought(user, 30)
        key = given.held(user, 20)

        answers = race(
            partial(ledger.capture, key=key),
            partial(
                ledger.claw_back, user_id=user.pk, amount=30, key=f"c{sale}", subject=("r", sale), source=("sale", sale)
            ),
        )

        assert faults(answers) == []
        assert answers[0].amount == 20
        assert (answers[1].taken, answers[1].owed) == (10, 20)


def test_hold_against_claw_back_never_promises_what_is_taken() -> None:
    for _ in range(10):
        user = given.person()
        sale = given.bought(user, 30)

        answers = race(
            partial(given.held, user, 20),
            partial(
                ledger.claw_back, user_id=user.pk, amount=30, key=f"c{sale}", subject=("r", sale), source=("sale", sale)
            ),
        )

        assert faults(answers, InsufficientCredits) == []
        was_held = isinstance(answers[0], str)
        assert (answers[1].taken, answers[1].owed) == ((10, 20) if was_held else (30, 0))


def test_capture_against_release_has_one_winner() -> None:
    for _ in range(10):
        user = given.person()
        given.bought(user, 30)
        key = given.held(user, 20)

        answers = race(partial(ledger.capture, key=key), partial(ledger.release, key=key))

        assert len(faults(answers, HoldClosed)) == 0
        assert sum(isinstance(found, HoldClosed) for found in answers) == 1
        assert ledger.balance(user.pk).balance == (10 if Hold.objects.get(key=key).state == "captured" else 30)


def test_twins_of_one_key_are_one() -> None:
    user = given.person()
    sale, job = new_id(), new_id()
    hold = partial(ledger.hold, user_id=user.pk, amount=5, key="h", subject=("job", job), alarm_at=given.later(hours=2))

    granted = race(*[partial(given.bought, user, 10, sale=sale)] * 12)
    held = race(*[hold] * 12)
    captured = race(*[partial(ledger.capture, key="h")] * 12)
    clawed = race(
        *[partial(ledger.claw_back, user_id=user.pk, amount=9, key="c", subject=("r", sale), source=("sale", sale))]
        * 12
    )
    adjusted = race(*[partial(ledger.adjust, user_id=user.pk, amount=7, key="a", subject=("r", sale), memo="")] * 12)

    assert faults(granted + held + captured + clawed + adjusted) == []
    assert len({found.hold_id for found in held}) == 1
    assert len({found.transaction_id for found in captured}) == 1
    assert {(found.taken, found.owed) for found in clawed} == {(5, 4)}
    assert ledger.balance(user.pk) == ledger.Balance(7, 0, 0, 7, 4)
    assert LedgerTransaction.objects.count() == 4
    assert CreditLot.objects.count() == 2


def test_one_key_on_many_wallets_belongs_to_one_of_them() -> None:
    people = [given.person() for _ in range(8)]
    sale = new_id()

    answers = race(*[partial(given.bought, user, 10, sale=sale) for user in people])

    assert faults(answers, LedgerKeyMismatch) == []
    assert sum(isinstance(found, LedgerKeyMismatch) for found in answers) == 7
    assert sorted(ledger.balance(user.pk).balance for user in people) == [0] * 7 + [10]

    for user in people:
        given.bought(user, 10)
    answers = race(*[partial(given.held, user, 10, key="one") for user in people])
    assert sum(isinstance(found, str) for found in answers) == 1
    assert faults(answers, LedgerKeyMismatch) == []


def test_wallets_opened_at_once_are_one() -> None:
    user = given.person()

    answers = race(*[partial(given.topped_up, user, 5, unit="EUR") for _ in range(10)])

    assert faults(answers) == []
    assert Wallet.objects.get(user=user, unit="EUR").balance == 50
    assert Wallet.objects.filter(user=None, unit="EUR").count() == 1


def test_the_wallets_of_registration_opened_at_once_are_three() -> None:
    user = User.objects.create(email="at-once@example.com")

    answers = race(*[partial(ledger.open_wallets, user=user) for _ in range(10)])

    assert faults(answers) == []
    assert sorted(Wallet.objects.filter(user=user).values_list("kind", flat=True)) == ["calls", "credits", "primary"]


def test_purchases_at_once_repay_a_debt_once() -> None:
    user = given.person()
    sale = given.bought(user, 100)
    given.spent(user, 100)
    ledger.claw_back(user_id=user.pk, amount=100, key="c", subject=("r", sale), source=("sale", sale))

    answers = race(*[partial(given.bought, user, 30) for _ in range(8)])

    assert faults(answers) == []
    assert Debt.objects.get().remaining == 0
    assert ledger.balance(user.pk).balance == 8 * 30 - 100


def test_people_with_one_mailbox_share_one_sign_up_grant(settings: Any) -> None:
    settings.SIGN_UP_GRANT, settings.PROMO_DAILY_BUDGET, settings.PROMO_DOMAIN_DAILY_CAP = 5, 1000, 1000
    people = []
    for number in range(8):
        user = given.person()
        user.email = f"j.o.h.n.{'x' * number}+{number}@gmail.com" if number % 2 else f"jo.hn+{number}@googlemail.com"
        user.save(update_fields=["email"])
        people.append(user)

    answers = race(*[partial(grants.sign_up, user=user) for user in people])

    assert faults(answers) == []
    same = [user for number, user in enumerate(people) if number % 2 == 0]
    assert sum(ledger.balance(user.pk).balance for user in same) == 5
    assert SignUpGrant.objects.count() == 8


def test_the_days_budget_is_not_overspent_at_once(settings: Any) -> None:
    settings.SIGN_UP_GRANT, settings.PROMO_DAILY_BUDGET, settings.PROMO_DOMAIN_DAILY_CAP = 5, 17, 1000
    people = [given.person() for _ in range(8)]

    answers = race(*[partial(grants.sign_up, user=user) for user in people])

    assert Counter(found.outcome for found in answers) == {"granted": 3, "budget_spent": 5}


def _anything(people: list[User], dice: random.Random) -> Callable[[], Any]:
    """One operation chosen by the dice, as the application would call it."""
    user, other = dice.sample(people, 2)
    amount = dice.randint(1, 40)
    name = dice.choice(
        ["buy", "buy", "spend", "spend", "part", "release", "claw", "freeze", "transfer", "adjust", "expire", "end",
         "topup", "both"]
    )  # fmt: skip
    if name == "buy":
        return partial(given.bought, user, amount, category=dice.choice(["paid", "promo", "subscription"]))
    if name == "spend":
        return partial(given.spent, user, amount)
    if name == "part":
        return lambda: ledger.capture(key=given.held(user, amount), amount=dice.randint(1, amount))
    if name == "release":
        return lambda: ledger.release(key=given.held(user, amount))
    if name == "topup":
        return partial(given.topped_up, user, amount)
    if name == "adjust":
        return partial(
            ledger.adjust, user_id=user.pk, amount=dice.choice([-amount, amount]), key=str(new_id()),
            subject=("case", new_id()), memo="",
        )  # fmt: skip
    if name == "transfer":
        return lambda: ledger.transfer(
            from_id=given.wallet(user, "primary").pk, to_id=given.wallet(other, "primary").pk, amount=amount,
            key=str(new_id()), subject=("case", new_id()),
        )  # fmt: skip
    if name == "expire":
        return partial(ledger.expire_next)
    if name == "end":
        return partial(ledger.end_lots, user_id=user.pk)
    if name == "both":

        def both() -> None:
            # Two people's credits in one transaction, in order of their wallets' ids.
            with transaction.atomic():
                for wallet in Wallet.objects.filter(user__in=[user, other], kind="credits").order_by("pk"):
                    given.bought(User.objects.get(pk=wallet.user_id), 1)

        return both

    def take_back() -> Any:
        sale = given.bought(user, amount)
        asked: dict[str, Any] = {"user_id": user.pk, "amount": amount, "subject": ("r", sale), "source": ("sale", sale)}
        ledger.freeze(**asked, key=f"f:{sale}")
        if name == "freeze":
            return ledger.thaw(key=f"f:{sale}")
        return ledger.claw_back(**asked, key=f"c:{sale}", freeze_key=f"f:{sale}")

    return take_back


@pytest.mark.parametrize("operations", [600, pytest.param(20_000, marks=pytest.mark.deep)])
@pytest.mark.timeout(1800)
def test_everything_at_once_neither_deadlocks_nor_breaks_the_books(operations: int) -> None:
    dice = random.Random(7)
    people = [given.person() for _ in range(4)]

    answers = crowd(8, [_anything(people, dice) for _ in range(operations)])

    assert faults(answers, *REFUSALS) == []
    assert sum(not isinstance(found, Exception) for found in answers) > operations // 3


_STORM = """
CREATE PROCEDURE storm(p_people uuid[], p_operations int) LANGUAGE plpgsql AS $$
DECLARE
    v_who uuid;
    v_job uuid;
    v_amount bigint;
    v_status text;
BEGIN
    FOR _ IN 1..p_operations / 2 LOOP
        v_who := p_people[1 + floor(random() * cardinality(p_people))::int];
        v_job := gen_random_uuid();
        v_amount := 1 + floor(random() * 20)::int;
        v_status := (ledger_hold(v_who, 'credits', 'CREDIT', v_amount, 'storm:' || v_job, 'job', v_job,
                                 now() + interval '1 day', NULL)).status;
        COMMIT;
        IF v_status <> 'ok' THEN
            PERFORM ledger_grant(v_who, 'credits', 'CREDIT', v_amount * 10, 'paid', 'purchase', 'storm:' || v_job,
                                 'sale', v_job, 'issued',
                                 CASE WHEN random() < 0.3 THEN now() + interval '20 milliseconds' END,
                                 'sale', v_job, NULL, '', NULL);
        ELSIF random() < 0.8 THEN
            PERFORM ledger_capture('storm:' || v_job, 1 + floor(random() * v_amount)::int, NULL, '', NULL);
        ELSE
            PERFORM ledger_release('storm:' || v_job, NULL);
        END IF;
        COMMIT;
    END LOOP;
END $$
"""


@pytest.mark.parametrize("operations", [4_000, pytest.param(1_000_000, marks=pytest.mark.deep)])
@pytest.mark.timeout(7200)
def test_the_books_balance_after_a_storm_of_operations(operations: int) -> None:
    """The functions themselves, without Python between them, each in a transaction of its own."""
    people = [given.person().pk for _ in range(20)]
    with connection.cursor() as cursor:
        cursor.execute(_STORM)

    def blow() -> None:
        with connection.cursor() as cursor:
            cursor.execute("CALL storm(%s::uuid[], %s)", [people, operations // 8])

    assert faults(race(*[blow] * 8)) == []

    assert Hold.objects.exclude(state="open").count() > operations // 5
    assert LedgerTransaction.objects.filter(kind="expiry").exists()

"""Credits that end, and what keeps them alive."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from audit.models import AuditLog
from billing import ledger, tasks
from billing.errors import InsufficientCredits
from billing.models import CreditLot, LedgerTransaction
from core.ids import new_id
from tests import books
from tests.billing import given

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _books() -> Iterator[None]:
    yield
    books.check()


def ended(user: object, amount: int, **other: object) -> object:
    """Credits whose time is over, not yet taken."""
    return given.bought(user, amount, expires_at=given.later(hours=-1), **other)  # type: ignore[arg-type]


def test_nobody_spends_dead_credits() -> None:
    user = given.person()
    ended(user, 100)
    given.bought(user, 10)

    with pytest.raises(InsufficientCredits) as refused:
        given.held(user, 11)

    assert refused.value.details[0]["available"] == 10


def test_expiry_posts_each_lot_once() -> None:
    user = given.person()
    ended(user, 100)
    given.bought(user, 10)

    assert ledger.expire(user_id=user.pk) == 100
    assert ledger.expire(user_id=user.pk) == 0

    assert ledger.balance(user.pk) == ledger.Balance(10, 0, 0, 10, 0)
    assert given.house("expired") == 100
    posted = LedgerTransaction.objects.get(kind="expiry")
    lot = CreditLot.objects.get(amount=100)
    assert (posted.key, posted.subject_type, posted.subject_id) == (f"expiry:{lot.pk}:100", "lot", lot.pk)
    assert AuditLog.objects.get(action="credits.expired").entity_id == str(lot.pk)


def test_what_is_held_does_not_expire_until_it_is_released() -> None:
    user = given.person()
    given.bought(user, 30, expires_at=given.later())
    key = given.held(user, 20)

    assert ledger.end_lots(user_id=user.pk) == 10
    assert ledger.balance(user.pk) == ledger.Balance(20, 20, 0, 0, 0)
    assert ledger.expire(user_id=user.pk) == 0

    assert ledger.release(key=key).available == 0
    assert ledger.balance(user.pk) == ledger.Balance(0, 0, 0, 0, 0)
    assert given.house("expired") == 30


def test_what_is_held_is_captured_though_its_time_is_over() -> None:
    user = given.person()
    given.bought(user, 30, expires_at=given.later())
    key = given.held(user, 20)
    ledger.end_lots(user_id=user.pk)

    captured = ledger.capture(key=key)

    assert (captured.amount, captured.after, captured.available) == (20, 0, 0)
    assert given.house("spent") == 20
    assert given.house("expired") == 10


def test_the_part_that_is_not_captured_expires() -> None:
    user = given.person()
    given.bought(user, 30, expires_at=given.later())
    key = given.held(user, 30)
    ledger.end_lots(user_id=user.pk)

    captured = ledger.capture(key=key, amount=12)

    assert (captured.after, captured.available) == (18, 0)
    assert given.house("expired") == 18


def test_what_is_held_counts_against_the_soonest_to_end() -> None:
    user = given.person()
    soonest = given.bought(user, 10, expires_at=given.later(minutes=1))
    second = given.bought(user, 10, expires_at=given.later(minutes=2))
    given.bought(user, 10)
    given.held(user, 10)
    for sale in (soonest, second):
        ledger.end_lots(user_id=user.pk, source=("sale", sale))

    assert CreditLot.objects.get(source_id=soonest).remaining == 10
    assert CreditLot.objects.get(source_id=second).remaining == 0
    assert ledger.balance(user.pk) == ledger.Balance(20, 10, 0, 10, 0)


def test_two_holds_protect_what_both_need() -> None:
    user = given.person()
    given.bought(user, 100, expires_at=given.later())
    first, second = given.held(user, 50), given.held(user, 30)
    ledger.end_lots(user_id=user.pk)
    assert given.house("expired") == 20

    ledger.capture(key=first)
    assert given.house("expired") == 20
    assert ledger.capture(key=second).amount == 30


def test_frozen_credits_do_not_expire_and_get_the_time_back() -> None:
    user = given.person()
    ending = given.later(minutes=10)
    sale = given.bought(user, 30, expires_at=ending)
    ledger.freeze(user_id=user.pk, amount=20, key="f", subject=("dispute", new_id()), source=("sale", sale))
    CreditLot.objects.filter(source_id=sale).update(frozen_at=given.later(hours=-2))
    assert ledger.end_lots(user_id=user.pk) == 10

    ledger.thaw(key="f")

    lot = CreditLot.objects.get(source_id=sale)
    assert (lot.remaining, lot.frozen, lot.frozen_at) == (20, 0, None)
    assert lot.expires_at is not None
    assert timedelta(hours=1, minutes=59) < lot.expires_at - given.later(hours=0) < timedelta(hours=2, minutes=1)
    assert given.held(user, 20)


def test_ending_one_source_leaves_the_others() -> None:
    user = given.person()
    invoice = given.bought(user, 30, category="subscription", expires_at=given.later())
    given.bought(user, 10)

    assert ledger.end_lots(user_id=user.pk, source=("sale", invoice)) == 30
    assert ledger.end_lots(user_id=user.pk, source=("sale", invoice)) == 0

    assert given.lots(user) == [("paid", 10)]


def test_ending_everything_leaves_nothing() -> None:
    user = given.person()
    given.bought(user, 30)
    given.bought(user, 10, category="promo")

    assert ledger.end_lots(user_id=user.pk) == 40

    assert ledger.balance(user.pk).balance == 0
    assert ledger.end_lots(user_id=new_id()) == 0


def test_the_sweep_takes_one_wallet_at_a_time_until_none_is_due() -> None:
    people = [given.person() for _ in range(3)]
    for user in people:
        ended(user, 10)
    given.bought(given.person(), 10, expires_at=given.later())

    swept, last = [], None
    while (found := ledger.expire_next(after=last)) is not None:
        swept.append(found.user_id)
        last = found.pk

    assert sorted(swept) == sorted(user.pk for user in people)
    assert given.house("expired") == 30


def test_the_sweep_ends_though_a_hold_keeps_something_due() -> None:
    user = given.person()
    given.bought(user, 10, expires_at=given.later())
    given.held(user, 10)
    ledger.end_lots(user_id=user.pk)

    found = ledger.expire_next()

    assert found is not None
    assert ledger.expire_next(after=found.pk) is None
    assert ledger.balance(user.pk).balance == 10


def test_the_task_takes_what_is_due_and_is_safe_twice() -> None:
    people = [given.person() for _ in range(3)]
    for user in people:
        ended(user, 10)

    tasks.expire_credits()
    tasks.expire_credits()

    assert given.house("expired") == 30
    assert [ledger.balance(user.pk).balance for user in people] == [0, 0, 0]

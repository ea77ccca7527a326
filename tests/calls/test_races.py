"""Two at once, and killed halfway: one end, one bill, whoever comes first."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from accounts.models import User
from audit.models import AuditLog
from billing.models import LedgerTransaction
from calls import calling, tending
from calls.models import Call, State
from core.errors import Error
from core.killpoints import POINTS
from notifications.models import Mail
from tests import books
from tests.calls.given import answered, fresh, fund, hold_of, money, passes, ringing
from tests.dying import die_at, exit_status
from tests.generation.material import in_parallel
from tests.people import make_user

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def pair(settings: Any) -> tuple[User, User]:
    caller, callee = make_user("caller@example.com"), make_user("callee@example.com", first_name="Bob")
    fund(caller, 100)
    return caller, callee


def ends(call: Call) -> int:
    """How many times it ended, by the trail."""
    over = [f"call.{state}" for state in ("completed", "canceled", "missed", "failed")]
    return AuditLog.objects.filter(entity_type="call", entity_id=str(call.pk), action__in=over).count()


def test_ended_by_all_at_once_it_is_paid_once(pair: tuple[User, User]) -> None:
    caller, callee = pair
    call = answered(caller, callee)
    passes(call, 65.1)

    found = in_parallel(
        *[partial(calling.end, user=caller, call_id=call.pk)] * 3,
        *[partial(calling.end, user=callee, call_id=call.pk)] * 3,
        tending.tend,
    )

    assert {ended.cost for ended in found[:-1]} == {1100}
    assert ends(call) == 1
    assert LedgerTransaction.objects.filter(subject_type="call", kind="spend").count() == 1
    assert Mail.objects.filter(name="call-summary").count() == 1
    assert money(caller) == (89, 0)
    books.check()


def test_answered_and_given_up_at_once(pair: tuple[User, User]) -> None:
    caller, callee = pair
    for _ in range(5):
        call = ringing(caller, callee)

        taken, given_up, declined = in_parallel(
            partial(calling.answer, user=callee, call_id=call.pk),
            partial(calling.end, user=caller, call_id=call.pk),
            partial(calling.decline, user=callee, call_id=call.pk),
        )

        over = fresh(call)
        assert not over.is_open
        assert given_up.state == over.state
        if over.state == State.COMPLETED:
            assert taken.state == State.ANSWERED
            assert isinstance(declined, Error)
        else:
            assert over.state == State.CANCELED
            assert isinstance(taken, Error)
        assert ends(call) == 1
        assert hold_of(call) == ("released", 10, 0)
    assert money(caller) == (100, 0)
    books.check()


def test_a_heartbeat_doubled_holds_once(pair: tuple[User, User]) -> None:
    caller, callee = pair
    call = answered(caller, callee)
    passes(call, 50)

    in_parallel(*[partial(calling.heartbeat, user=caller, call_id=call.pk)] * 6, tending.tend)

    assert hold_of(call) == ("open", 20, 0)
    assert money(caller) == (100, 20)
    calling.end(user=caller, call_id=call.pk)
    books.check()


def test_the_money_goes_and_the_end_never_comes(pair: tuple[User, User]) -> None:
    caller, callee = pair
    call = answered(caller, callee)
    passes(call, 2000)  # 100 naira last for 600 s

    in_parallel(*[tending.tend] * 4, *[partial(calling.heartbeat, user=caller, call_id=call.pk)] * 2)

    over = fresh(call)
    assert (over.state, over.reason, over.billed_s, over.cost) == ("completed", "out_of_funds", 600, 10_000)
    assert money(caller) == (0, 0)
    assert ends(call) == 1
    books.check()


def test_the_wallet_is_spent_elsewhere_meanwhile(pair: tuple[User, User]) -> None:
    """Six calls of two people at one wallet's edge are not possible; a heartbeat against an end is."""
    caller, callee = pair
    call = answered(caller, callee)
    passes(call, 58)

    in_parallel(
        partial(calling.heartbeat, user=caller, call_id=call.pk),
        partial(calling.end, user=callee, call_id=call.pk),
        partial(calling.heartbeat, user=caller, call_id=call.pk),
    )

    over = fresh(call)
    assert (over.state, over.cost) == (State.COMPLETED, 1000)
    assert money(caller) == (90, 0)
    books.check()


def test_one_caller_begins_one_call(pair: tuple[User, User]) -> None:
    caller, callee = pair

    found = in_parallel(*[partial(ringing, caller, callee)] * 5)

    assert sorted(getattr(one, "code", "call") for one in found) == ["call", *["call_exists"] * 4]
    assert Call.objects.count() == 1
    assert money(caller) == (100, 10)
    books.check()


def test_killed_while_it_begins(pair: tuple[User, User]) -> None:
    caller, callee = pair

    die_at("calls.initiated", partial(ringing, caller, callee))

    assert not Call.objects.exists()
    assert money(caller) == (100, 0)
    assert ringing(caller, callee).state == State.RINGING
    books.check()


def test_killed_while_it_is_answered(pair: tuple[User, User]) -> None:
    caller, callee = pair
    call = ringing(caller, callee)

    die_at("calls.answered", partial(calling.answer, user=callee, call_id=call.pk))

    assert fresh(call).state == State.RINGING
    assert calling.answer(user=callee, call_id=call.pk).state == State.ANSWERED
    books.check()


def test_killed_at_a_beat(pair: tuple[User, User]) -> None:
    caller, callee = pair
    call = answered(caller, callee)
    passes(call, 50)

    die_at("calls.beaten", partial(calling.heartbeat, user=caller, call_id=call.pk))

    assert hold_of(call) == ("open", 10, 0)
    calling.heartbeat(user=caller, call_id=call.pk)
    assert hold_of(call) == ("open", 20, 0)
    books.check()


@pytest.mark.parametrize("point", [name for name in POINTS if name.startswith("calls.finish.")])
def test_killed_while_it_ends(pair: tuple[User, User], point: str) -> None:
    caller, callee = pair
    call = answered(caller, callee)
    passes(call, 65.1, beating=False)
    Call.objects.filter(pk=call.pk).update(last_beat_at=fresh(call).answered_at)

    die_at(point, tending.tend)
    assert exit_status(tending.tend) == 0

    over = fresh(call)
    assert (over.state, over.reason, over.cost) == ("completed", "no_heartbeat", 0)
    assert hold_of(call) == ("released", 10, 0)
    assert ends(call) == 1
    assert Mail.objects.filter(name="call-summary").count() == 1
    books.check()


@pytest.mark.parametrize("point", [name for name in POINTS if name.startswith("calls.finish.")])
def test_killed_while_somebody_hangs_up(pair: tuple[User, User], point: str) -> None:
    caller, callee = pair
    call = answered(caller, callee)
    passes(call, 65.1)

    die_at(point, partial(calling.end, user=caller, call_id=call.pk))
    calling.end(user=caller, call_id=call.pk)

    assert fresh(call).cost == 1100
    assert money(caller) == (89, 0)
    assert ends(call) == 1
    assert Mail.objects.filter(name="call-summary").count() == 1
    books.check()

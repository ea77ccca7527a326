"""A call's whole life: what is held, what it costs, and what ends it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from accounts.models import User
from audit.models import AuditLog
from billing.errors import InsufficientFunds
from calls import calling, tending
from calls.errors import CallAnswered, CalleeOnly, CallEnded, CallExists
from calls.models import LONGEST, Call, Reason, State
from core import metrics
from core.errors import Invalid, NotFound
from notifications.models import Mail
from tests import books
from tests.calls.given import answered, fresh, fund, hold_of, money, passes, ringing
from tests.people import make_user

pytestmark = pytest.mark.django_db


def test_ten_naira_are_held_while_it_rings(rich: User, bob: User) -> None:
    call = ringing(rich, bob)

    assert (call.state, call.held, call.cost) == (State.RINGING, 1000, 0)
    assert money(rich) == (100, 10)
    assert call.ring_until - call.created_at <= timedelta(seconds=60)
    assert hold_of(call) == ("open", 10, 0)
    books.check()


def test_with_less_there_is_no_call(alice: User, bob: User) -> None:
    fund(alice, 9)

    with pytest.raises(InsufficientFunds) as refused:
        ringing(alice, bob)

    assert refused.value.details[0].items() >= {"required": 1000, "available": 900, "unit": "NGN"}.items()
    assert not Call.objects.exists()
    assert money(alice) == (9, 0)
    books.check()


@pytest.mark.parametrize(("seconds", "naira"), [(0, 0), (5, 1), (59, 10), (60, 10), (61, 11), (150, 25)])
def test_only_the_seconds_are_paid(rich: User, bob: User, seconds: int, naira: int) -> None:
    call = answered(rich, bob)
    passes(call, seconds + 0.1 if seconds else 0)

    ended = calling.end(user=bob, call_id=call.pk)

    assert (ended.state, ended.reason) == (State.COMPLETED, Reason.HUNG_UP)
    assert (ended.billed_s, ended.cost) == (seconds, naira * 100)
    assert money(rich) == (100 - naira, 0)
    again = calling.end(user=rich, call_id=call.pk)
    assert (again.ended_at, again.cost) == (ended.ended_at, ended.cost)
    books.check()


def test_by_the_started_minute(rich: User, bob: User, settings: Any) -> None:
    settings.CALL_STRATEGY = "per_started_minute"
    call = answered(rich, bob)
    settings.CALL_STRATEGY = "per_second"  # the terms are those of its beginning
    passes(call, 61.1)

    assert calling.end(user=rich, call_id=call.pk).cost == 2000
    books.check()


def test_each_slice_is_held_before_it_begins(rich: User, bob: User) -> None:
    call = answered(rich, bob)
    assert hold_of(call) == ("open", 10, 0)

    passes(call, 44)
    calling.heartbeat(user=rich, call_id=call.pk)
    assert hold_of(call) == ("open", 10, 0)
    passes(call, 2)
    calling.heartbeat(user=rich, call_id=call.pk)
    calling.heartbeat(user=rich, call_id=call.pk)
    assert hold_of(call) == ("open", 20, 0)
    assert money(rich) == (100, 20)
    passes(call, 60)
    assert tending.tend() == 1
    assert hold_of(call) == ("open", 30, 0)
    paid_on = AuditLog.objects.filter(action="call.paid_on", entity_id=str(call.pk))
    assert [row.new["held"] for row in paid_on.order_by("id")] == [2000, 3000]
    books.check()


def test_the_money_is_gone(alice: User, bob: User) -> None:
    fund(alice, 14)
    call = answered(alice, bob)
    passes(call, 50)
    assert calling.heartbeat(user=alice, call_id=call.pk).state == State.ANSWERED
    assert hold_of(call) == ("open", 14, 0)  # too little for a slice, but all there is
    passes(call, 33)
    tending.tend()
    assert fresh(call).is_open
    passes(call, 30)

    assert tending.tend() == 1

    ended = fresh(call)
    assert (ended.state, ended.reason, ended.billed_s, ended.cost) == ("completed", "out_of_funds", 84, 1400)
    assert ended.ended_at == ended.paid_until
    assert money(alice) == (0, 0)
    assert calling.heartbeat(user=alice, call_id=call.pk).state == State.COMPLETED
    assert tending.tend() == 0
    books.check()


def test_money_that_comes_in_time_keeps_it_alive(alice: User, bob: User) -> None:
    fund(alice, 10)
    call = answered(alice, bob)
    passes(call, 55)
    calling.heartbeat(user=alice, call_id=call.pk)
    fund(alice, 50)
    calling.heartbeat(user=alice, call_id=call.pk)
    passes(call, 10)

    assert tending.tend() == 0
    ended = calling.end(user=alice, call_id=call.pk)

    assert (ended.billed_s, ended.cost) == (65, 1100)
    books.check()


def test_silence_ends_it_at_the_last_beat(rich: User, bob: User) -> None:
    call = answered(rich, bob)
    passes(call, 30.1)
    calling.heartbeat(user=rich, call_id=call.pk)
    passes(call, 44, beating=False)
    tending.tend()
    assert fresh(call).is_open
    passes(call, 2, beating=False)

    assert tending.tend() == 1

    ended = fresh(call)
    assert (ended.reason, ended.billed_s, ended.cost) == ("no_heartbeat", 30, 500)
    assert ended.ended_at == ended.last_beat_at
    books.check()


def test_a_late_end_or_beat_finds_it_ended_at_the_last_beat(rich: User, bob: User) -> None:
    for late in (calling.end, calling.heartbeat):
        call = answered(rich, bob)
        passes(call, 20.1)
        calling.heartbeat(user=rich, call_id=call.pk)
        passes(call, 3600, beating=False)

        ended = late(user=rich, call_id=call.pk)

        assert (ended.reason, ended.billed_s) == ("no_heartbeat", 20)
    assert money(rich) == (92, 0)
    books.check()


def test_who_hangs_up_after_some_silence_pays_one_interval_of_it(rich: User, bob: User) -> None:
    call = answered(rich, bob)
    passes(call, 40.1, beating=False)

    assert calling.end(user=bob, call_id=call.pk).billed_s == 15
    books.check()


def test_the_callee_does_not_keep_the_meter_running(rich: User, bob: User) -> None:
    call = answered(rich, bob)
    passes(call, 40.1, beating=False)
    calling.heartbeat(user=bob, call_id=call.pk)
    passes(call, 10, beating=False)

    assert calling.heartbeat(user=bob, call_id=call.pk).reason == Reason.NO_HEARTBEAT
    assert fresh(call).cost == 0
    books.check()


def test_nobody_talks_for_longer_than_a_day(alice: User, bob: User) -> None:
    fund(alice, 20_000)
    call = answered(alice, bob)
    passes(call, LONGEST.total_seconds() + 100)

    assert tending.tend() == 1

    assert (fresh(call).reason, fresh(call).billed_s, fresh(call).cost) == ("too_long", 86_400, 1_440_000)
    books.check()


def test_a_call_that_nobody_answers(rich: User, bob: User) -> None:
    call = ringing(rich, bob)
    assert tending.tend() == 0
    passes(call, 61)

    with pytest.raises(CallEnded) as refused:
        calling.answer(user=bob, call_id=call.pk)

    assert refused.value.charged == "none"
    assert (fresh(call).state, fresh(call).reason) == (State.MISSED, Reason.UNANSWERED)
    assert hold_of(call) == ("released", 10, 0)
    assert not Mail.objects.filter(name="call-summary").exists()
    books.check()


def test_the_sweeper_finds_a_call_that_nobody_answers(rich: User) -> None:
    call = ringing(rich)
    passes(call, 61)

    assert (tending.tend(), tending.tend()) == (1, 0)

    assert fresh(call).state == State.MISSED
    assert money(rich) == (100, 0)
    books.check()


def test_before_the_answer_it_costs_nothing(rich: User, bob: User) -> None:
    given_up = calling.end(user=rich, call_id=ringing(rich, bob).pk)
    declined = calling.decline(user=bob, call_id=ringing(rich, bob).pk)
    hung_up = calling.end(user=bob, call_id=ringing(rich, bob).pk)

    assert [(c.state, c.reason, c.cost) for c in (given_up, declined, hung_up)] == [
        ("canceled", "canceled", 0),
        ("canceled", "declined", 0),
        ("canceled", "declined", 0),
    ]
    assert calling.decline(user=bob, call_id=declined.pk).ended_at == declined.ended_at
    with pytest.raises(CallEnded):
        calling.decline(user=bob, call_id=given_up.pk)
    with pytest.raises(CallEnded):
        calling.answer(user=bob, call_id=given_up.pk)
    assert money(rich) == (100, 0)
    books.check()


def test_only_who_is_called_answers_or_declines(rich: User, bob: User) -> None:
    call = ringing(rich, bob)

    for act in (calling.answer, calling.decline):
        with pytest.raises(CalleeOnly):
            act(user=rich, call_id=call.pk)
        with pytest.raises(NotFound):
            act(user=make_user(), call_id=call.pk)

    assert fresh(call).state == State.RINGING
    calling.answer(user=bob, call_id=call.pk)
    first = fresh(call).answered_at
    assert calling.answer(user=bob, call_id=call.pk).answered_at == first
    with pytest.raises(CallAnswered):
        calling.decline(user=bob, call_id=call.pk)
    books.check()


def test_of_a_phone_the_callers_app_tells(rich: User) -> None:
    call = ringing(rich)

    assert calling.answer(user=rich, call_id=call.pk).state == State.ANSWERED
    calling.end(user=rich, call_id=call.pk)
    assert calling.decline(user=rich, call_id=ringing(rich).pk).reason == Reason.DECLINED
    books.check()


def test_one_call_at_a_time_and_nobody_calls_themselves(rich: User, bob: User) -> None:
    call = ringing(rich, bob)

    with pytest.raises(CallExists):
        ringing(rich)
    for nobody in (rich, make_user(verified=False)):
        with pytest.raises(Invalid):
            ringing(rich, nobody)
    with pytest.raises(IntegrityError), transaction.atomic():
        Call.objects.create(caller=rich, rate=1, held=1, ring_until=call.ring_until, due_at=call.ring_until)

    assert money(rich) == (100, 10)
    fund(bob, 10)
    ringing(bob, rich)  # being called is not calling
    books.check()


def test_a_call_that_should_have_ended_does_not_keep_from_the_next(rich: User, bob: User) -> None:
    call = answered(rich, bob)
    passes(call, 600, beating=False)

    ringing(rich, bob)

    assert fresh(call).reason == Reason.NO_HEARTBEAT
    assert money(rich) == (100, 10)
    books.check()


def test_the_caller_is_told_what_it_cost(rich: User, bob: User) -> None:
    call = answered(rich, bob)
    passes(call, 65.1)
    calling.end(user=bob, call_id=call.pk)
    calling.end(user=rich, call_id=call.pk)

    mail = Mail.objects.get(name="call-summary")
    assert mail.to == rich.email
    assert mail.context.items() >= {"recipient": "Bob", "duration": "1 min 5 s", "cost": "₦11.00"}.items()
    trail = AuditLog.objects.filter(entity_type="call", entity_id=str(call.pk)).order_by("id")
    assert [row.action for row in trail if row.action.startswith("call.")] == [
        "call.initiated",
        "call.answered",
        "call.paid_on",
        "call.completed",
    ]


def test_calls_are_counted(rich: User, bob: User) -> None:
    answered(rich, bob)

    told = metrics.scrape().decode()

    assert 'calls_total{state="answered"} 1.0' in told
    assert "call_lag_seconds 0.0" in told


def test_the_books_see_a_call_without_its_hold(rich: User, bob: User) -> None:
    call = answered(rich, bob)
    Call.objects.filter(pk=call.pk).update(held=9000)

    with pytest.raises(AssertionError, match="calls_hold"):
        books.check()

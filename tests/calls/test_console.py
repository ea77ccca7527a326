"""Staff end a call from the console: at once, for a reason, at the price of its seconds."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from audit.models import AuditLog
from calls import calling
from calls.models import Call
from core.errors import PermissionDenied
from tests import books
from tests.calls.given import answered, fresh, fund, hold_of, money, passes, ringing

pytestmark = pytest.mark.django_db


def press(person: User, call: Call, reason: str = "The caller asked us to.") -> Any:
    console = Client()
    console.force_login(person)
    url = reverse("admin:calls_call_end", args=[call.pk])
    return console.post(url, {"reason": reason, "_form_submitted": "True"})


def test_a_call_is_ended_for_a_reason_and_paid_to_the_second(rich: User, bob: User, support: User) -> None:
    call = answered(rich, bob)
    passes(call, 61)

    silent = press(support, call, reason="")
    assert fresh(call).is_open, silent.content
    press(support, call)
    press(support, call)  # twice is once

    ended = fresh(call)
    assert (ended.state, ended.reason) == ("completed", "staff")
    assert ended.billed_s >= 61
    naira = -(-ended.billed_s * 10 // 60)
    assert (ended.cost, money(rich), hold_of(call)[0]) == (naira * 100, (100 - naira, 0), "captured")
    fact = AuditLog.objects.get(action="call.completed")
    assert (fact.actor_id, fact.metadata["reason"]) == (support.pk, "The caller asked us to.")
    books.check()


def test_one_that_rings_costs_nothing_and_not_everybody_may(rich: User, bob: User, finance: User, ops: User) -> None:
    call = ringing(rich, bob)

    assert press(finance, call).status_code in (403, 302)
    assert fresh(call).is_open
    press(ops, call)

    assert (fresh(call).state, fresh(call).reason, money(rich)) == ("canceled", "staff", (100, 0))
    fund(ops, 20)
    own = ringing(ops, bob)
    with pytest.raises(PermissionDenied):
        calling.end_by_staff(own.pk, actor=ops, reason="Mine.")
    assert fresh(own).is_open
    books.check()

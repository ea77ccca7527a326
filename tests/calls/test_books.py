"""Calls that the books would not let pass."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from accounts.models import User
from billing import books
from billing.models import Hold
from calls.models import Call
from core.ids import new_id
from tests.calls.given import ringing

pytestmark = pytest.mark.django_db


def found() -> set[tuple[str, str]]:
    return {(one.check, one.row) for one in books.run().findings}


def test_a_call_whose_hold_is_over_something_else_is_named(rich: User, bob: User) -> None:
    call = ringing(rich, bob)
    assert found() == set()

    Call.objects.update(held=900)

    assert found() == {("calls_hold", f"call {call.pk}")}


def test_a_hold_for_no_call_is_named(rich: User, bob: User) -> None:
    call = ringing(rich, bob)

    Hold.objects.update(subject_id=new_id())

    assert ("calls_holds_of_calls", f"hold {call.hold_key}") in found()


def test_a_call_that_nobody_ends_is_named(rich: User, bob: User) -> None:
    call = ringing(rich, bob)

    Call.objects.update(due_at=Now() - timedelta(minutes=16))

    assert found() == {("calls_ends", f"call {call.pk}")}

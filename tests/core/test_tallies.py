"""Counters of states: right at once, never falling, and small whatever there is behind them."""

from __future__ import annotations

import pytest

from core import tallies
from core.models import Tally
from notifications.models import Mail, MailState

pytestmark = pytest.mark.django_db


def counted() -> dict[tuple[str, ...], float]:
    (family,) = tallies.family("emails", "Mails", ["name", "state"])
    assert family.type == "counter"
    return {tuple(sample.labels.values()): sample.value for sample in family.samples}


def letters(count: int) -> list[Mail]:
    made = [Mail(name="welcome", to=f"{n}@example.com", cause=f"test:{n}") for n in range(count)]
    return Mail.objects.bulk_create(made)


def test_each_time_that_a_row_comes_into_a_state_counts_once() -> None:
    first, *_ = letters(3)
    Mail.objects.update(state=MailState.SUPPRESSED)
    Mail.objects.filter(pk=first.pk).update(state=MailState.QUEUED)
    Mail.objects.filter(pk=first.pk).update(state=MailState.QUEUED, attempts=1)  # it is there already
    first.refresh_from_db()
    first.state = MailState.SUPPRESSED
    first.save()

    assert counted() == {("welcome", "queued"): 4, ("welcome", "suppressed"): 4}


def test_adding_up_changes_no_figure_and_leaves_a_row_for_each() -> None:
    letters(5)
    before = counted()
    tallies.fold()
    letter = Mail.objects.first()
    assert letter is not None
    Mail.objects.filter(pk=letter.pk).update(state=MailState.SUPPRESSED)
    tallies.fold()
    tallies.fold()

    assert before == {("welcome", "queued"): 5}
    assert counted() == {("welcome", "queued"): 5, ("welcome", "suppressed"): 1}
    assert Tally.objects.filter(name="emails").count() == 2


def test_a_counter_does_not_fall_when_rows_go() -> None:
    letters(2)
    Mail.objects.all().delete()

    assert counted() == {("welcome", "queued"): 2}

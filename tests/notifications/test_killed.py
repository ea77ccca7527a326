"""A worker that dies around the sending of a mail."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from core.killpoints import POINTS
from notifications import delivery
from notifications.models import Mail
from notifications.tasks import deliver
from tests.dying import die_at, exit_status
from tests.notifications.letters import letter
from tests.sandbox.process import RunningSandbox

pytestmark = pytest.mark.django_db(transaction=True)

MINE = sorted(point for point in POINTS if point.startswith("notifications."))


def test_the_points_around_sending_are_named() -> None:
    assert MINE == ["notifications.accepted", "notifications.claimed", "notifications.handed_over"]


@pytest.mark.parametrize("point", MINE)
def test_no_death_sends_a_mail_twice(smtp: RunningSandbox, point: str) -> None:
    mail, other = letter(cause="first"), letter(to="other@example.com")
    Mail.objects.filter(pk=mail.pk).update(next_at=Now() - timedelta(minutes=1))

    die_at(point, delivery.deliver_due)
    mail.refresh_from_db()
    assert mail.state == "sending"
    deliver()  # the lease is alive: only the other one goes
    other.refresh_from_db()
    assert other.state == "sent"
    Mail.objects.filter(state="sending").update(lease_until=Now() - timedelta(seconds=1))
    deliver()
    deliver()

    mail.refresh_from_db()
    arrived = len(smtp.messages("reader@example.com"))
    assert (mail.state, mail.error_code, arrived) == {
        "notifications.claimed": ("sent", "", 1),
        "notifications.handed_over": ("failed", "outcome_unknown", 0),
        "notifications.accepted": ("failed", "outcome_unknown", 1),
    }[point]


def test_an_unharmed_worker_sends(smtp: RunningSandbox) -> None:
    mail = letter()

    assert exit_status(delivery.deliver_due) == 0

    mail.refresh_from_db()
    assert mail.state == "sent"

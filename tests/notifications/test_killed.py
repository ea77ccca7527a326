"""A worker that dies around the sending of a mail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.db.models.functions import Now

from core.killpoints import POINTS
from notifications.models import Mail
from notifications.tasks import deliver
from tests.notifications.letters import letter
from tests.sandbox.process import RunningSandbox

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[2]
WORK = "import django; django.setup(); from notifications import delivery; delivery.deliver_due()"
MINE = sorted(point for point in POINTS if point.startswith("notifications."))


@pytest.fixture
def die_at(smtp: RunningSandbox, database_url: str, redis_url: str) -> Callable[[str], int]:
    """Deliver in another process that is killed at the point; answers its exit status."""

    def run(point: str) -> int:
        own = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "EMAIL_URL": smtp.smtp_url}
        return subprocess.run(
            [sys.executable, "-c", WORK],
            cwd=ROOT,
            env=os.environ
            | own
            | {"DJANGO_SETTINGS_MODULE": "config.settings", "ENVIRONMENT": "test", "KILL_POINT": point},
            timeout=60,
            check=False,
        ).returncode

    return run


def test_the_points_around_sending_are_named() -> None:
    assert MINE == ["notifications.accepted", "notifications.claimed", "notifications.handed_over"]


@pytest.mark.parametrize("point", MINE)
def test_no_death_sends_a_mail_twice(smtp: RunningSandbox, die_at: Callable[[str], int], point: str) -> None:
    mail, other = letter(cause="first"), letter(to="other@example.com")
    Mail.objects.filter(pk=mail.pk).update(next_at=Now() - timedelta(minutes=1))

    assert die_at(point) == -signal.SIGKILL
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


def test_an_unharmed_worker_sends(die_at: Callable[[str], int]) -> None:
    mail = letter()

    assert die_at("") == 0

    mail.refresh_from_db()
    assert mail.state == "sent"

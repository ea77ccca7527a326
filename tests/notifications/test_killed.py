"""A worker that dies around the sending of a mail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from django.conf import settings as conf
from django.db import connection
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


def die_at(point: str, smtp: RunningSandbox) -> int:
    """Deliver in another process that is killed at `point`; its exit status."""
    database = connection.settings_dict
    port = f":{database['PORT']}" if database["PORT"] else ""
    login = quote(database["USER"]) + (f":{quote(database['PASSWORD'])}" if database["PASSWORD"] else "")
    return subprocess.run(
        [sys.executable, "-c", WORK],
        cwd=ROOT,
        env=os.environ
        | {
            "ENVIRONMENT": "test",
            "KILL_POINT": point,
            "DATABASE_URL": f"postgres://{login}@{quote(database['HOST'], safe='')}{port}/{database['NAME']}",
            "REDIS_URL": conf.REDIS_URL,
            "EMAIL_URL": smtp.smtp_url,
        },
        timeout=60,
        check=False,
    ).returncode


def test_the_points_around_sending_are_named() -> None:
    assert MINE == ["notifications.accepted", "notifications.claimed", "notifications.handed_over"]


@pytest.mark.parametrize("point", MINE)
def test_no_death_sends_a_mail_twice(smtp: RunningSandbox, point: str) -> None:
    mail, other = letter(cause="first"), letter(to="other@example.com")
    Mail.objects.filter(pk=mail.pk).update(next_at=Now() - timedelta(minutes=1))

    assert die_at(point, smtp) == -signal.SIGKILL
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

    assert die_at("", smtp) == 0

    mail.refresh_from_db()
    assert mail.state == "sent"

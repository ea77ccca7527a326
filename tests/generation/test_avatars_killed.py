"""A worker that dies at each kill point of an avatar's making: profile, face and payment come together, once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db.models import Q
from django.db.models.functions import Now

from billing import ledger
from billing.models import LedgerTransaction, Plan, Subscription
from core.killpoints import POINTS
from generation import avatars
from generation.models import Asset, Avatar, Generation, State
from tests import books
from tests.generation.material import avatar_of, fund, run_until, sweep
from tests.people import make_user
from tests.sandbox.process import RunningSandbox

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[2]
# One start of Django, a child for each death.
WORK = """
import os, sys
import django
django.setup()
from django.conf import settings
from django.db import connection
from generation.engine.advance import advance
for line in sys.stdin:
    connection.close()
    child = os.fork()
    if not child:
        settings.KILL_POINT = line.strip()
        advance("providers_sync")
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
ROAD = [
    name
    for name in POINTS
    if name.startswith(("generation.submit.", "generation.store.", "generation.finish."))
    and name != "generation.submit.recorded"  # of providers that answer later
]


@pytest.fixture
def work(sandbox: RunningSandbox, settings: Any, database_url: str, redis_url: str) -> Iterator[Callable[[str], int]]:
    """A pass of the engine in a process of its own, armed; how it ended."""
    own = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "ENVIRONMENT": "test",
        "MEDIA_ROOT": str(settings.MEDIA_ROOT),
        "KILL_POINT": "",
    }
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(
        [sys.executable, "-c", WORK], cwd=ROOT, env=os.environ | sandbox.env | own, **pipes
    ) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None

        def run(point: str) -> int:
            print(point, file=worker.stdin, flush=True)
            return int(worker.stdout.readline())

        yield run
        worker.stdin.close()


def die(work: Callable[[str], int], point: str) -> None:
    assert work(point) == -signal.SIGKILL, point
    Generation.objects.filter(lease_until__isnull=False).update(lease_until=Now() - timedelta(seconds=1))


def test_an_avatar_is_whole_and_paid_once_whoever_dies(work: Callable[[str], int]) -> None:
    alice = make_user()
    fund(alice, 1000)
    plan = Plan.objects.filter(code="enterprise").earliest("id")
    Subscription.objects.create(user=alice, plan=plan, gateway="stripe", state="active")
    before = ledger.balance(alice.pk).balance

    for number, point in enumerate(ROAD, 1):
        avatar = avatar_of(alice)
        die(work, point)
        run_until(avatar.generation)

        avatar = Avatar.objects.select_related("generation").get(pk=avatar.pk)
        assert (avatar.status, bool(avatar.profile)) == ("ready", True), point
        assert ledger.balance(alice.pk).balance == before - 10 * number, point
        assert avatar.generation.attempts.count() <= 2, point

    assert LedgerTransaction.objects.filter(kind="spend").count() == len(ROAD)
    assert Asset.objects.count() == len(ROAD)
    books.check()


def test_another_face_is_paid_once_or_the_first_stays(work: Callable[[str], int]) -> None:
    alice = make_user()
    fund(alice, 100)
    avatar = avatar_of(alice)
    run_until(avatar.generation)
    first = Avatar.objects.get(pk=avatar.pk).thumbnail_id

    for point in ("generation.store.saved", "generation.finish.decided", "generation.finish.settled"):
        job = avatars.regenerate_thumbnail(user=alice, avatar_id=avatar.pk)
        die(work, point)
        assert Avatar.objects.get(pk=avatar.pk).thumbnail_id == first, point
        run_until(job)
        assert (job.state, Avatar.objects.get(pk=avatar.pk).thumbnail_id != first) == (State.SUCCEEDED, True), point
        first = Avatar.objects.get(pk=avatar.pk).thumbnail_id

    sweep()
    assert ledger.balance(alice.pk).held == 0
    assert Generation.objects.filter(Q(state=State.SUCCEEDED)).count() == 4
    books.check()

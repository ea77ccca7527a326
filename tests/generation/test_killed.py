"""A worker that dies with a fetched picture in hand, and a database that goes away with an answer in hand."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.db.models.functions import Now

from billing import ledger
from core.models import StoredObject
from generation import jobs
from generation.engine import moves, submit
from generation.models import Generation, JobPhoto, Kind, Outcome, Photo, State
from tests import books
from tests.generation.material import fund, jpeg, order, run_until, sweep
from tests.people import make_user
from tests.sandbox.process import RunningSandbox

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[2]
# No sandbox is at a public https address, so the child finds the customer's picture in a file.
WORK = """
import django, os, shutil
django.setup()
from core import http
fetch = http.fetch
def stand_in(url, to, **options):
    if options.get("trusted_origin"):
        return fetch(url, to, **options)
    with open(os.environ["PICTURE"], "rb") as file:
        shutil.copyfileobj(file, to)
http.fetch = stand_in
from generation.engine.advance import advance
advance()
"""


def test_a_death_with_the_fetched_picture_stored(
    sandbox: RunningSandbox, settings: Any, tmp_path: Path, database_url: str, redis_url: str
) -> None:
    alice = make_user()
    fund(alice, 100)
    url = "https://pictures.example.com/me.jpg"
    job = jobs.create(user=alice, request=jobs.Request(kind=Kind.HEADSHOT, image_url=url, consent=True))
    (tmp_path / "me.jpg").write_bytes(jpeg())
    own = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "ENVIRONMENT": "test",
        "MEDIA_ROOT": str(settings.MEDIA_ROOT),
        "PICTURE": str(tmp_path / "me.jpg"),
    }

    def work(point: str) -> int:
        env = os.environ | own | sandbox.env | {"KILL_POINT": point}
        return subprocess.run([sys.executable, "-c", WORK], cwd=ROOT, env=env, timeout=60, check=False).returncode

    assert work("generation.inputs.saved") == -signal.SIGKILL
    assert not Photo.objects.exists()
    assert StoredObject.objects.get().expires_at is not None
    assert work("") == 0  # its lease still holds
    assert not JobPhoto.objects.exists()
    Generation.objects.update(lease_until=Now() - timedelta(seconds=1))
    assert work("") == 0
    run_until(job)

    assert job.state == State.SUCCEEDED
    assert (Photo.objects.count(), JobPhoto.objects.count()) == (1, 1)
    StoredObject.objects.filter(expires_at__isnull=False).update(expires_at=Now())
    sweep()
    assert len(list((settings.MEDIA_ROOT / "photos").rglob("*.jpg"))) == 1
    books.check()


def test_an_id_is_written_down_although_the_database_restarts(sandbox: RunningSandbox, database_url: str) -> None:
    alice = make_user()
    fund(alice, 100)
    job = order(alice)
    token, (claimed,) = moves.claim(State.QUEUED, 1)
    script = submit.script(claimed, token)
    call = script.send(next(script)())
    answer = call()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (own,) = cursor.fetchone()
    with psycopg.connect(database_url) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [own])

    with pytest.raises(StopIteration):
        script.send(answer)

    attempt = job.attempts.get()
    assert (attempt.outcome, attempt.provider_job_id) == (Outcome.RUNNING, answer.provider_job_id)
    run_until(job)
    assert job.state == State.SUCCEEDED
    assert ledger.balance(alice.pk).balance == 55
    books.check()

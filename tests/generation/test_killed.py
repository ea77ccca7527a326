"""A worker that dies with a fetched picture in hand, and a database that goes away with an answer in hand."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.db.models.functions import Now

from billing import ledger
from core import storage
from core.models import StoredObject
from generation import jobs, uploads
from generation.engine import moves, submit
from generation.engine.advance import advance
from generation.models import Generation, JobPhoto, Kind, Outcome, Photo, State
from tests import books
from tests.dying import die_at, exit_status
from tests.generation.material import fund, jpeg, order, run_until, sweep
from tests.people import make_user
from tests.sandbox.process import RunningSandbox
from tests.stores import put

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.usefixtures("fetched")
def test_a_death_with_the_fetched_picture_stored(sandbox: RunningSandbox, settings: Any) -> None:
    alice = make_user()
    fund(alice, 100)
    url = "https://pictures.example.com/me.jpg"
    job = jobs.create(user=alice, request=jobs.Request(kind=Kind.HEADSHOT, image_url=url, consent=True))

    die_at("generation.inputs.saved", advance)
    assert not Photo.objects.exists()
    assert StoredObject.objects.get().expires_at is not None
    assert exit_status(advance) == 0  # its lease still holds
    assert not JobPhoto.objects.exists()
    Generation.objects.update(lease_until=Now() - timedelta(seconds=1))
    assert exit_status(advance) == 0
    run_until(job)

    assert job.state == State.SUCCEEDED
    assert (Photo.objects.count(), JobPhoto.objects.count()) == (1, 1)
    StoredObject.objects.filter(expires_at__isnull=False).update(expires_at=Now())
    sweep()
    assert len(list((settings.MEDIA_ROOT / "photos").rglob("*.jpg"))) == 1
    books.check()


def test_a_death_with_what_was_put_still_there() -> None:
    alice = make_user()
    content = jpeg()
    upload = uploads.announce(user=alice, filename="me.jpg", content_type="image/jpeg", bytes=len(content))
    door, _ = uploads.door(upload)
    assert put(door.url, content, dict(door.headers)) == 200

    die_at("generation.uploads.kept", partial(uploads.complete, user=alice, upload_id=upload.pk))
    assert storage.exists(upload.file.key)
    assert uploads.complete(user=alice, upload_id=upload.pk).pk == upload.pk
    StoredObject.objects.filter(expires_at__isnull=False).update(expires_at=Now())
    sweep()

    photo = Photo.objects.get()
    assert photo.file is not None
    assert (storage.exists(photo.file.key), storage.exists(upload.file.key)) == (True, False)
    assert StoredObject.objects.count() == 1
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

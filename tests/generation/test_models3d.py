"""3D models: hours of work under a live lease, stopped when nobody wants it, started twice at most, paid once."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now

from accounts.models import User
from billing import ledger
from core import storage
from core.errors import Invalid, NotFound
from core.models import StoredObject
from generation import jobs, uploads
from generation.engine import bulk, doubts, scripts
from generation.errors import OperationUnavailable, UploadIncomplete
from generation.models import Asset, Generation, Kind, Outcome, Photo, Purpose, State
from generation.photogrammetry import workshop
from generation.providers import photogrammetry
from notifications.models import Mail
from tests import books
from tests.generation.material import fund, jpeg, lapse, photo_of, run_until, sweep, until
from tests.generation.sculptor import TYPES, Sculptor
from tests.people import api, make_user

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def machine(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has what it takes, whether or not this one has."""
    settings.PHOTOGRAMMETRY_ENABLED = True
    settings.PHOTOGRAMMETRY_FREE_BYTES = 0
    monkeypatch.setattr(photogrammetry, "missing", list)
    monkeypatch.setattr(scripts, "BEAT_S", 0.05)


@pytest.fixture
def sculptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sculptor:
    return Sculptor(tmp_path, monkeypatch)


def views(user: User, count: int = 8) -> list[Photo]:
    return [photo_of(user) for _ in range(count)]


def order(user: User, count: int = 8) -> Generation:
    request = jobs.Request(kind=Kind.MODEL3D, photo_ids=[photo.pk for photo in views(user, count)])
    return jobs.create(user=user, request=request)


def folders(settings: Any) -> list[str]:
    return [entry.name for entry in settings.PHOTOGRAMMETRY_DIR.iterdir() if entry.is_dir()]


@contextmanager
def working() -> Iterator[threading.Thread]:
    """A worker's pass on a thread of its own; left when it has ended."""

    def work() -> None:
        try:
            bulk.work()
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(100)
        assert not thread.is_alive()


def test_photos_become_a_model_in_three_formats_and_a_zip(
    rich: User, sculptor: Sculptor, settings: Any, db: None
) -> None:
    job = order(rich, 9)
    assert (job.price, job.queue, job.provider) == (40, "bulk", "photogrammetry")

    run_until(job)

    assert (job.state, job.progress) == (State.SUCCEEDED, 100)
    assets = list(Asset.objects.filter(generation=job).select_related("file", "thumbnail").order_by("position"))
    assert [asset.content_type for asset in assets] == [
        "application/zip",
        "model/gltf-binary",
        "model/obj",
        "model/ply",
    ]
    assert [bool(asset.thumbnail) for asset in assets] == [False, True, True, True]
    assert assets[2].file is not None
    assert storage.open(assets[2].file.key).read() == b"make model.obj of 9"
    attempt = job.attempts.get()
    assert (attempt.outcome, attempt.answer["faces"], attempt.made) == (Outcome.SUCCEEDED, 900, {})
    assert folders(settings) == []
    assert ledger.balance(rich.pk).balance == 65
    assert Mail.objects.get(name="generation-completed").context["kind"] == "3D model"
    books.check()


@pytest.mark.parametrize("code", ["too_few_photos", "no_reconstruction"])
def test_photos_of_which_nothing_can_come_cost_nothing(
    rich: User, sculptor: Sculptor, settings: Any, code: str
) -> None:
    sculptor.act(f"refuse {code}")

    job = run_until(order(rich))

    assert (job.state, job.error_code) == (State.FAILED, code)
    assert "photos" in job.error_message
    assert job.attempts.count() == 1
    assert (ledger.balance(rich.pk).available, folders(settings), Asset.objects.count()) == (105, [], 0)
    books.check()


@pytest.mark.parametrize("what", ["die", "full"])
def test_a_program_that_dies_is_started_twice_and_no_more(
    rich: User, sculptor: Sculptor, settings: Any, what: str
) -> None:
    sculptor.act(what)

    job = run_until(order(rich))

    assert (job.state, job.error_code) == (State.FAILED, "provider_failed")
    assert list(job.attempts.order_by("n").values_list("outcome", flat=True)) == [Outcome.UNKNOWN, Outcome.UNKNOWN]
    assert (ledger.balance(rich.pk).available, folders(settings)) == (105, [])
    books.check()


def test_the_second_start_can_do_it(rich: User, sculptor: Sculptor) -> None:
    sculptor.act("die")
    job = order(rich)
    bulk.work()
    sculptor.act("make")

    run_until(job)

    assert (job.state, job.attempts.count()) == (State.SUCCEEDED, 2)
    assert ledger.balance(rich.pk).balance == 65
    books.check()


@pytest.mark.django_db(transaction=True)
def test_while_it_works_it_says_where_it_is_and_keeps_its_lease(sculptor: Sculptor, settings: Any) -> None:
    alice = make_user()
    fund(alice, 100)
    settings.GENERATION_LEASE_S = 1
    sculptor.act("hang")
    job = order(alice)

    with working():
        until(lambda: _reload(job).step == "feature_matching", "the step is told")
        assert (job.state, 0 < job.progress < 90) == (State.SUBMITTING, True)
        first = job.lease_until
        until(lambda: _reload(job).lease_until != first, "the lease is stretched")
        assert bulk.work() == 0  # another worker of this machine has nothing to do
        jobs.cancel(user=alice, job_id=job.pk)

    assert job.attempts.count() == 1


def _reload(job: Generation) -> Generation:
    job.refresh_from_db()
    return job


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("how", ["canceled", "deadline_exceeded"])
def test_what_nobody_wants_any_more_is_stopped(sculptor: Sculptor, settings: Any, how: str) -> None:
    alice = make_user()
    fund(alice, 100)
    sculptor.act("hang")
    job = order(alice)

    with working():
        until(lambda: _reload(job).step == "feature_matching", "it works")
        assert sculptor.is_alive()
        if how == "canceled":
            jobs.cancel(user=alice, job_id=job.pk)
        else:
            Generation.objects.filter(pk=job.pk).update(deadline_at=Now() - timedelta(seconds=1))
            sweep()

    job.refresh_from_db()
    assert (job.state, job.error_code) == (
        (State.CANCELED, "") if how == "canceled" else (State.FAILED, "deadline_exceeded")
    )
    assert not sculptor.is_alive()
    assert folders(settings) == []
    assert ledger.balance(alice.pk).available == 105
    books.check()


_WORKER = """
import django, sys
django.setup()
from generation.engine import bulk
from generation.photogrammetry import runs
from generation.providers import photogrammetry
import json, os
photogrammetry.missing = list
runs.COMMAND, runs.ENVIRONMENT = (sys.executable, os.environ["PROGRAM"]), json.loads(os.environ["PROGRAM_ENV"])
bulk.work()
"""


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("deaths", [1, 2])
def test_a_killed_workers_job_is_taken_up_by_the_next(
    sculptor: Sculptor, settings: Any, database_url: str, redis_url: str, deaths: int
) -> None:
    alice = make_user()
    fund(alice, 100)
    sculptor.act("hang")
    job = order(alice)

    for _ in range(deaths):
        _die_at_work(sculptor, settings, database_url, redis_url, job)
    sculptor.act("make")
    run_until(job)

    if deaths == 1:
        assert (job.state, job.attempts.count()) == (State.SUCCEEDED, 2)
        assert ledger.balance(alice.pk).balance == 65
    else:
        assert (job.state, job.error_code, job.attempts.count()) == (State.FAILED, "provider_failed", 2)
        assert ledger.balance(alice.pk).available == 105
    assert folders(settings) == []
    books.check()


def _die_at_work(sculptor: Sculptor, settings: Any, database_url: str, redis_url: str, job: Generation) -> None:
    starts = job.attempts.count()
    own = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "ENVIRONMENT": "test",
        "MEDIA_ROOT": str(settings.MEDIA_ROOT),
        "PHOTOGRAMMETRY_DIR": str(settings.PHOTOGRAMMETRY_DIR),
        "PHOTOGRAMMETRY_ENABLED": "true",
        "PHOTOGRAMMETRY_FREE_BYTES": "0",
        "PROGRAM": str(sculptor.program),
        "PROGRAM_ENV": json.dumps(sculptor.environment),
    }
    worker = subprocess.Popen([sys.executable, "-c", _WORKER], cwd=ROOT, env=os.environ | own)
    try:
        until(lambda: job.attempts.count() > starts and _reload(job).step == "feature_matching", "it works")
        assert sculptor.is_alive()
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait(60)
    until(lambda: not sculptor.is_alive(), "the program dies with its worker")
    assert len(folders(settings)) == 1  # nobody was left to clean up
    lapse(job)
    if job.attempts.count() < 2:
        doubts.settle("bulk")  # unknown,
        doubts.settle("bulk")  # then to be started once more


def test_one_at_a_time_on_a_machine(rich: User, sculptor: Sculptor) -> None:
    job = order(rich)

    with workshop.turn() as is_ours:
        assert is_ours
        assert bulk.work() == 0

    assert _reload(job).state == State.QUEUED
    assert run_until(job).state == State.SUCCEEDED


def test_folders_left_behind_go_and_other_peoples_stay(rich: User, sculptor: Sculptor, settings: Any) -> None:
    root = settings.PHOTOGRAMMETRY_DIR
    for name in (f"at_{'0' * 32}", "holiday", "at_home"):
        (root / name / "images").mkdir(parents=True)

    bulk.work()

    assert sorted(folders(settings)) == ["at_home", "holiday"]


def test_none_is_begun_without_disk_or_packages(
    rich: User, sculptor: Sculptor, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = order(rich)
    settings.PHOTOGRAMMETRY_FREE_BYTES = 1 << 60
    bulk.work()
    assert (_reload(job).state, job.attempts.count()) == (State.QUEUED, 0)
    settings.PHOTOGRAMMETRY_FREE_BYTES = 0
    monkeypatch.setattr(photogrammetry, "missing", lambda: ["pycolmap"])
    Generation.objects.update(next_at=Now())
    bulk.work()
    assert (_reload(job).state, job.attempts.count()) == (State.QUEUED, 0)
    monkeypatch.setattr(photogrammetry, "missing", list)

    assert run_until(job).state == State.SUCCEEDED


def test_seven_photos_are_too_few_and_a_photo_twice_is_one(rich: User) -> None:
    with pytest.raises(Invalid):
        order(rich, 7)
    same = photo_of(rich)
    with pytest.raises(Invalid):
        jobs.create(user=rich, request=jobs.Request(kind=Kind.MODEL3D, photo_ids=[same.pk] * 8))

    assert (Generation.objects.count(), ledger.balance(rich.pk).available) == (0, 105)


def test_without_the_packages_it_is_not_for_sale(rich: User, settings: Any) -> None:
    settings.PHOTOGRAMMETRY_ENABLED = False

    with pytest.raises(OperationUnavailable):
        order(rich)

    assert (Generation.objects.count(), ledger.balance(rich.pk).available) == (0, 105)


# --- Archives -----------------------------------------------------------------------------------------------------


def put_archive(user: User, *pictures: bytes, content: bytes | None = None) -> Any:
    """A zip of these pictures, announced and put."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for position, picture in enumerate(pictures):
            archive.writestr(f"{position}.jpg", picture)
    body = content or packed.getvalue()
    upload = uploads.announce(
        user=user, filename="views.zip", content_type="application/zip", bytes=len(body), purpose=Purpose.ARCHIVE
    )
    storage.save(upload.file.key, io.BytesIO(body), "application/zip")
    return upload


def order_archive(user: User, upload: Any) -> Generation:
    return jobs.create(user=user, request=jobs.Request(kind=Kind.MODEL3D, archive_id=upload.pk))


def test_a_zip_of_photos_becomes_a_model_and_goes(rich: User, sculptor: Sculptor, settings: Any) -> None:
    settings.UPLOAD_URL_S = 0
    views = [jpeg(seed) for seed in range(9)]
    upload = put_archive(rich, *views, views[0])
    key = upload.file.key

    job = run_until(order_archive(rich, upload))

    assert job.state == State.SUCCEEDED
    model = Asset.objects.select_related("file").get(generation=job, position=1)
    assert model.file is not None
    assert storage.open(model.file.key).read() == b"make model.glb of 9"  # the one sent twice is one
    assert storage.exists(key)
    Generation.objects.update(finished_at=Now() - timedelta(days=2))
    sweep()
    job.refresh_from_db()
    assert (job.archive, storage.exists(key)) == (None, False)
    books.check()


def test_a_deleted_models_archive_goes_when_nobody_can_put_it_again(
    rich: User, sculptor: Sculptor, settings: Any
) -> None:
    upload = put_archive(rich, *[jpeg(seed) for seed in range(8)])
    job = run_until(order_archive(rich, upload))

    jobs.delete(user=rich, job_id=job.pk)
    sweep()
    assert storage.exists(upload.file.key)  # its link holds for an hour
    StoredObject.objects.filter(key=upload.file.key).update(expires_at=Now())
    sweep()

    assert not storage.exists(upload.file.key)


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (b"PK no zip", "archive_refused", "not a zip archive"),
        (None, "too_few_photos", "Fewer than 8"),
    ],
)
def test_an_archive_of_no_use_costs_nothing(
    rich: User, sculptor: Sculptor, settings: Any, content: bytes | None, code: str, words: str
) -> None:
    job = run_until(order_archive(rich, put_archive(rich, *[jpeg(seed) for seed in range(7)], content=content)))

    assert (job.state, job.error_code) == (State.FAILED, code)
    assert words in job.error_message
    assert words in Mail.objects.get(name="generation-failed").context["reason"]
    assert (sculptor.pid, folders(settings), ledger.balance(rich.pk).available) == (0, [], 105)
    books.check()


def test_an_archive_is_its_owners_is_there_and_is_used_once(rich: User, bob: User, sculptor: Sculptor) -> None:
    upload = put_archive(rich, *[jpeg(seed) for seed in range(8)])
    fund(bob, 100)
    with pytest.raises(NotFound):
        order_archive(bob, upload)
    with pytest.raises(NotFound):
        uploads.check_put(user=bob, archive_id=upload.pk)
    photo = uploads.announce(user=rich, filename="a.jpg", content_type="image/jpeg", bytes=10)
    with pytest.raises(NotFound):
        order_archive(rich, photo)
    with pytest.raises(Invalid):
        uploads.complete(user=rich, upload_id=upload.pk)
    missing = uploads.announce(
        user=rich, filename="b.zip", content_type="application/zip", bytes=10, purpose=Purpose.ARCHIVE
    )
    with pytest.raises(UploadIncomplete):
        uploads.check_put(user=rich, archive_id=missing.pk)

    order_archive(rich, upload)

    with pytest.raises(NotFound):
        order_archive(rich, upload)
    assert Generation.objects.count() == 1
    books.check()


# --- Over HTTP ----------------------------------------------------------------------------------------------------


def ask(user: User, body: dict[str, Any]) -> Any:
    return api(user).post("/api/v1/models", body, format="json", headers={"Idempotency-Key": str(uuid.uuid4())})


def test_ordered_over_http_and_downloaded_by_the_promised_name(rich: User, sculptor: Sculptor) -> None:
    photos = [str(photo.pk) for photo in views(rich)]

    answer = ask(rich, {"name": "Teapot", "photos": photos})
    assert answer.status_code == 202
    assert (answer.json()["kind"], answer.json()["price"], answer.json()["charged"]) == ("model3d", 40, "held")
    run_until(Generation.objects.get())

    listed = api(rich).get("/api/v1/models").json()["results"]
    assert [output["content_type"] for output in listed[0]["outputs"]] == ["application/zip", *TYPES.values()]
    link = api(rich).get(f"/api/v1/generations/{answer.json()['id']}/download")
    served = api().get(link["Location"].removeprefix("http://testserver"))
    assert f"photogrammetry_results_{answer.json()['id']}.zip" in served["Content-Disposition"]


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"photos": []}, 400, "out_of_range"),
        ({}, 400, "out_of_range"),
        ({"archive": str(uuid.uuid4())}, 404, None),
        ({"photos": [str(uuid.uuid4()) for _ in range(8)]}, 404, None),
        ({"photos": ["x"]}, 400, None),
        ({"prompt": "a teapot"}, 400, None),
    ],
)
def test_a_wrong_order_is_refused_and_nothing_is_held(
    rich: User, change: dict[str, Any], status: int, code: str | None
) -> None:
    answer = ask(rich, change)

    assert answer.status_code == status
    assert code is None or answer.json()["details"][0]["code"] == code
    assert (Generation.objects.count(), ledger.balance(rich.pk).available) == (0, 105)


def test_switched_off_it_is_503(rich: User, settings: Any) -> None:
    photos = [str(photo.pk) for photo in views(rich)]
    settings.PHOTOGRAMMETRY_ENABLED = False

    answer = ask(rich, {"photos": photos})

    assert (answer.status_code, answer.json()["error"]) == (503, "operation_unavailable")
    offers = {offer["code"]: offer for offer in api().get("/api/v1/generations/operations").json()}
    assert offers["model3d"]["is_available"] is False

"""A copy of what we keep of somebody: asked for, made, fetched, gone."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as configured
from django.core import mail as post
from django.db.models.functions import Now
from django.utils.module_loading import import_string

from accounts import erasure, exports
from accounts.models import Erasure, Export, User
from core import files, storage
from core.models import StoredObject
from notifications import delivery
from tests import books
from tests.billing.buying import together
from tests.dying import die_at
from tests.generation.material import fund, order, photo_of
from tests.people import api, make_user, open_session
from tests.stores import fetch

pytestmark = pytest.mark.django_db

URL = "/api/v1/users/me/export"
PARTS = {
    *("profile", "sessions", "looks", "mails", "history", "acts"),
    *("wallets", "ledger", "payments", "refunds", "debts"),
    *("photos", "generations"),
}


@pytest.fixture(autouse=True)
def folder(settings: Any, tmp_path: Path) -> Path:
    settings.MEDIA_ROOT = tmp_path
    return tmp_path


def make() -> int:
    """What beat makes a worker do, as if the next look were due."""
    Export.objects.filter(state="preparing").update(next_at=Now())
    return exports.make_due()


def unpacked(url: str) -> zipfile.ZipFile:
    status, content, headers = fetch(url)
    assert status == 200
    assert "my-data.zip" in headers["content-disposition"]
    return zipfile.ZipFile(io.BytesIO(content))


def test_a_copy_is_asked_for_made_told_and_fetched(alice: User, bob: User, store: str) -> None:
    fund(alice, 100)
    photo = photo_of(alice)
    job = order(alice, photo, name='=HYPERLINK("http://x")')
    photo_of(bob)
    client = api(alice)
    assert client.get(URL).status_code == 404

    asked = client.post(URL)

    assert (asked.status_code, asked.json()["status"], asked.json()["url"]) == (202, "preparing", None)
    assert make() == 1
    found = client.get(URL).json()
    assert (found["id"], found["status"]) == (asked.json()["id"], "ready")
    archive = unpacked(found["url"])
    assert archive.testzip() is None
    told = {name: json.loads(archive.read(name)) for name in archive.namelist() if name.endswith(".json")}
    assert {f"{name}.json" for name in PARTS} <= set(told)
    assert (told["profile.json"][0]["email"], told["payments.json"]) == ("alice@example.com", [])
    assert "password" not in told["profile.json"][0]
    assert sorted(row["amount"] for row in told["ledger.json"]) == [5, 100]
    assert told["generations.json"][0]["params"]["name"] == '=HYPERLINK("http://x")'
    assert [row["id"] for row in told["photos.json"]] == [str(photo.pk)]
    assert told["generations.json"][0]["id"] == str(job.pk)
    assert [name for name in archive.namelist() if name.startswith("photos/")] == [f"photos/{photo.pk}.jpg"]
    assert found["bytes"] == storage.open(Export.objects.get().file.key).seek(0, 2)  # type: ignore[union-attr]
    assert "bob" not in json.dumps(told)
    delivery.deliver_due()
    assert "The copy of your data is ready" in [message.subject for message in post.outbox]
    assert not [message for message in post.outbox if "/files/" in str(message.message())]
    books.check()


def test_one_at_a_time(alice: User) -> None:
    client = api(alice)

    first, second = client.post(URL).json(), client.post(URL).json()

    assert first["id"] == second["id"]
    make()
    assert client.post(URL).json()["id"] != first["id"]


@pytest.mark.django_db(transaction=True)
def test_two_at_once_are_one_and_two_workers_make_it_once() -> None:
    alice = make_user()

    asked = together(lambda: exports.request(alice), lambda: exports.request(alice))
    together(exports.make_due, exports.make_due)

    assert len({export.pk for export in asked}) == 1
    assert Export.objects.get().state == "ready"
    assert StoredObject.objects.count() == 1


def test_it_is_limited_like_other_sensitive_things(alice: User, limited: None) -> None:
    client = api(alice)

    assert [client.post(URL).status_code for _ in range(4)] == [202, 202, 202, 429]
    assert client.get(URL).status_code == 200


def test_a_body_is_refused(alice: User) -> None:
    assert api(alice).post(URL, {"user": "bob"}).status_code == 400
    assert not Export.objects.exists()


def test_another_sees_nothing_of_it(alice: User, bob: User) -> None:
    exports.request(alice)
    make()

    assert api(bob).get(URL).status_code == 404
    assert api().get(URL).status_code == 401


def test_it_goes_when_its_time_is_over(alice: User) -> None:
    exports.request(alice)
    make()
    key = Export.objects.get().file.key  # type: ignore[union-attr]
    Export.objects.update(expires_at=Now() - timedelta(seconds=1))

    assert (exports.purge(), exports.purge()) == (1, 0)
    files.remove_expired()

    found = api(alice).get(URL).json()
    assert (found["status"], found["url"]) == ("expired", None)
    assert not storage.exists(key)


def test_it_goes_with_its_owner(alice: User) -> None:
    exports.request(alice)
    make()
    key = Export.objects.get().file.key  # type: ignore[union-attr]

    erasure.request(alice)
    erasure.advance_due()
    files.remove_expired()

    assert Erasure.objects.get().anonymised_at is not None
    assert not Export.objects.exists()
    assert not storage.exists(key)


def test_none_is_made_for_somebody_who_leaves(alice: User) -> None:
    exports.request(alice)
    erasure.request(alice)

    make()

    assert Export.objects.get().state == "failed"
    assert not StoredObject.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_one_that_cannot_be_made_is_tried_a_few_times(settings: Any) -> None:
    settings.ACCOUNT_EXPORT = ["tests.accounts.test_export.broken"]
    alice = make_user()
    exports.request(alice)

    assert [make() for _ in range(6)] == [1, 1, 1, 1, 1, 0]

    assert Export.objects.get().state == "failed"
    settings.ACCOUNT_EXPORT = ["accounts.telling.export"]
    assert exports.request(alice).state == "preparing"


def broken(*, user: User) -> Any:
    raise RuntimeError("away")


def test_a_file_deleted_meanwhile_is_left_out(alice: User) -> None:
    photo = photo_of(alice)
    storage.delete(photo.file.key)  # type: ignore[union-attr]
    exports.request(alice)

    make()

    assert "photos.json" in unpacked(api(alice).get(URL).json()["url"]).namelist()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("point", ["accounts.exports.claimed", "accounts.exports.saved"])
def test_a_worker_killed_on_the_way_is_made_up_for(point: str, folder: Path) -> None:
    alice = make_user()
    exports.request(alice)

    die_at(point, exports.make_due)

    assert Export.objects.get().state == "preparing"
    assert exports.make_due() == 0  # its lease has not run out
    assert make() == 1
    export = Export.objects.get()
    assert export.state == "ready"
    assert list(StoredObject.objects.filter(expires_at=None)) == [export.file]


def test_every_path_in_the_settings_is_a_function() -> None:
    assert all(callable(import_string(path)) for path in configured.ACCOUNT_EXPORT)


def test_reading_it_costs_the_same_whatever_is_in_it(alice: User, django_assert_num_queries: Any) -> None:
    exports.request(alice)
    make()
    open_session(alice)
    client = api(alice)

    with django_assert_num_queries(2):
        client.get(URL)

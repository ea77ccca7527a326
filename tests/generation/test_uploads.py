"""photos/upload-url and complete: the same in a folder and in a bucket, and the same checks as an upload through us."""

from __future__ import annotations

import io
import threading
from functools import partial
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db.models.functions import Now
from django.test import Client

from accounts import erasure
from accounts.models import User
from audit.models import AuditLog
from core import files, pictures, storage
from core.errors import Error
from core.models import StoredObject
from generation import photos, uploads
from generation.models import Photo, Upload
from tests.generation.material import encoded, in_parallel, jpeg, order, portrait, until
from tests.people import api, make_user
from tests.stores import fetch, go_away, put

URL = "/api/v1/photos/upload-url"


def announced(client: Any, content: bytes, **fields: Any) -> dict[str, Any]:
    body = {"filename": "me.jpg", "content_type": "image/jpeg", "bytes": len(content)} | fields
    answer = client.post(URL, body)
    assert answer.status_code == 201, answer.json()
    found: dict[str, Any] = answer.json()
    return found


def complete(client: Any, upload: dict[str, Any]) -> Any:
    return client.post(f"/api/v1/photos/{upload['photo']}/complete")


def test_a_photo_is_announced_put_and_completed(alice: User, store: str) -> None:
    client = api(alice)
    content = jpeg(size=(3000, 2000))

    upload = announced(client, content, filename="C:\\pics\\me.jpg", title="Me", description="At the sea")
    assert (upload["method"], upload["headers"]) == ("PUT", {"Content-Type": "image/jpeg"})
    early = complete(client, upload)
    assert (early.status_code, early.json()["error"]) == (409, "upload_incomplete")
    assert put(upload["url"], content, upload["headers"]) == 200
    incoming = Upload.objects.get().file.key
    assert incoming.startswith("incoming/")
    done = complete(client, upload)

    assert done.status_code == 200
    photo = done.json()
    assert (photo["id"], photo["filename"], photo["title"], photo["description"]) == (
        upload["photo"], "me.jpg", "Me", "At the sea",
    )  # fmt: skip
    assert (photo["width"], photo["original_width"], photo["purpose"]) == (2048, 3000, "photo")
    link = client.get(f"/api/v1/photos/{photo['id']}/url").json()["url"]
    status, kept, _ = fetch(link)
    assert (status, len(kept)) == (200, photo["bytes"])
    assert not storage.exists(incoming)
    assert not Upload.objects.exists()
    assert complete(client, upload).json() == photo
    assert order_is_possible(alice, Photo.objects.get())
    actions = AuditLog.objects.filter(entity_id=photo["id"]).order_by("id").values_list("action", flat=True)
    assert list(actions) == ["upload.announced", "photo.uploaded"]


def order_is_possible(user: User, photo: Photo) -> bool:
    from tests.generation.material import fund

    fund(user, 50)
    return order(user, photo).state == "queued"


def test_what_is_put_later_through_the_same_address_is_swept(alice: User, store: str) -> None:
    client = api(alice)
    upload = announced(client, jpeg())
    put(upload["url"], jpeg(), upload["headers"])
    complete(client, upload)

    assert put(upload["url"], jpeg(), upload["headers"]) == 200
    key = StoredObject.objects.get(key__startswith="incoming/").key
    assert storage.exists(key)
    StoredObject.objects.filter(key=key).update(expires_at=Now())
    files.remove_expired()

    assert not storage.exists(key)
    assert not StoredObject.objects.filter(key=key).exists()
    assert Photo.objects.get().file is not None


def test_one_that_is_never_completed_is_swept_after_a_day(alice: User, store: str) -> None:
    client = api(alice)
    upload = announced(client, jpeg())
    put(upload["url"], jpeg(), upload["headers"])
    row = Upload.objects.get()
    assert row.file.expires_at is not None
    assert 23.9 < (row.file.expires_at - row.created_at).total_seconds() / 3600 <= 24.1

    StoredObject.objects.update(expires_at=Now())
    files.remove_expired()

    assert not storage.exists(row.file.key)
    assert not Upload.objects.exists()
    assert complete(client, upload).status_code == 404


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"MZ" + b"\x00" * 900, 415, "unsupported_media_type"),
        (jpeg()[:2000], 400, "image_unreadable"),
        (encoded(portrait(), "TIFF"), 415, "unsupported_media_type"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", 415, "unsupported_media_type"),
    ],
    ids=["executable", "truncated", "tiff", "svg"],
)
def test_bad_bytes_are_refused_dropped_and_can_be_put_again(
    alice: User, store: str, content: bytes, status: int, code: str
) -> None:
    client = api(alice)
    good = jpeg() + bytes(10_000)  # what follows the picture's end is nobody's
    content = content + bytes(len(good) - len(content)) if len(content) < len(good) else content
    good = good + bytes(len(content) - len(good))
    upload = announced(client, content)
    put(upload["url"], content, upload["headers"])

    refused = complete(client, upload)

    assert (refused.status_code, refused.json()["error"]) == (status, code)
    assert not storage.exists(Upload.objects.get().file.key)
    assert not Photo.objects.exists()
    assert complete(client, upload).json()["error"] == "upload_incomplete"
    assert put(upload["url"], good, upload["headers"]) == 200
    assert complete(client, upload).status_code == 200


def test_more_bytes_than_announced_are_never_taken(alice: User, store: str) -> None:
    """A store that does not keep to the signed length is found out here."""
    client = api(alice)
    upload = announced(client, jpeg())
    storage.save(Upload.objects.get().file.key, io.BytesIO(jpeg() + b"more"), "image/jpeg")

    answer = complete(client, upload)

    assert (answer.status_code, answer.json()["details"][0]["code"]) == (400, "mismatch")
    assert not storage.exists(Upload.objects.get().file.key)


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"bytes": 50_000_001}, 413, "too_large"),
        ({"bytes": 0}, 400, "invalid"),
        ({"bytes": "7"}, 400, "invalid"),
        ({"bytes": -1}, 400, "invalid"),
        ({"content_type": "text/html"}, 400, "invalid"),
        ({"content_type": "image/tiff"}, 415, "unsupported_media_type"),
        ({"filename": ""}, 400, "invalid"),
        ({"filename": "a\x00b"}, 400, "invalid"),
        ({"purpose": "film"}, 400, "invalid"),
        ({"purpose": "archive"}, 415, "unsupported_media_type"),
        ({"content_type": "application/zip"}, 415, "unsupported_media_type"),
        ({"purpose": "archive", "content_type": "application/zip", "bytes": 2_000_000_001}, 413, "too_large"),
        ({"key": "photos/1"}, 400, "invalid"),
    ],
)
def test_an_announcement_is_strict(alice: User, fields: dict[str, Any], status: int, code: str) -> None:
    body = {"filename": "me.jpg", "content_type": "image/jpeg", "bytes": 7} | fields

    answer = api(alice).post(URL, body)

    assert (answer.status_code, answer.json()["error"]) == (status, code)
    assert not Upload.objects.exists()
    assert not StoredObject.objects.exists()


def test_while_the_storage_is_away_nothing_is_kept_and_nothing_lost(alice: User, store: str, settings: Any) -> None:
    client, where = api(alice), (settings.STORAGES, settings.MEDIA_ROOT)
    upload = announced(client, jpeg())
    put(upload["url"], jpeg(), upload["headers"])
    photo = SimpleUploadedFile("me.jpg", jpeg(), "image/jpeg")

    go_away(store, settings)
    through_us = client.post("/api/v1/photos", {"file": photo}, format="multipart", headers={"Idempotency-Key": "one"})
    completed = complete(client, upload)

    for answer in (through_us, completed):
        assert (answer.status_code, answer.json()["error"], answer.json()["charged"]) == (503, "unavailable", "none")
        assert "storage" in answer.json()["message"]
        assert answer["Retry-After"] == "5"
    assert not Photo.objects.exists()
    assert not StoredObject.objects.filter(expires_at=None).exists()

    settings.STORAGES, settings.MEDIA_ROOT = where
    photo.seek(0)
    again = client.post("/api/v1/photos", {"file": photo}, format="multipart", headers={"Idempotency-Key": "one"})
    assert again.status_code == 201
    assert complete(client, upload).status_code == 200
    assert Photo.objects.count() == 2


def test_a_folder_that_cannot_be_written_to_takes_nothing(alice: User, settings: Any) -> None:
    upload = announced(api(alice), jpeg())

    go_away("folder", settings)

    assert put(upload["url"], jpeg(), upload["headers"]) == 503


def test_somebody_elses_upload_does_not_exist(alice: User, bob: User) -> None:
    upload = announced(api(alice), jpeg())
    put(upload["url"], jpeg(), upload["headers"])

    assert complete(api(bob), upload).status_code == 404
    assert complete(api(alice), upload).status_code == 200
    assert complete(api(bob), upload).status_code == 404


def test_a_deleted_photo_does_not_come_back(alice: User) -> None:
    client = api(alice)
    upload = announced(client, jpeg())
    put(upload["url"], jpeg(), upload["headers"])
    complete(client, upload)
    client.delete(f"/api/v1/photos/{upload['photo']}")

    assert put(upload["url"], jpeg(), upload["headers"]) == 200
    assert complete(client, upload).status_code == 404


def test_the_same_key_is_the_same_address(alice: User) -> None:
    client = api(alice)
    body = {"filename": "me.jpg", "content_type": "image/jpeg", "bytes": 7}

    first = client.post(URL, body, headers={"Idempotency-Key": "once"})
    again = client.post(URL, body, headers={"Idempotency-Key": "once"})

    assert again.json() == first.json()
    assert again["Idempotent-Replayed"] == "true"
    assert Upload.objects.count() == 1


def test_a_browser_may_put_from_the_client_app(alice: User, settings: Any) -> None:
    upload = announced(api(alice), jpeg())
    asked = {
        "Origin": settings.CORS_ALLOWED_ORIGINS[0],
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "content-type",
    }

    answer = Client(headers=asked).options(upload["url"].removeprefix(settings.PUBLIC_URL))

    assert answer["Access-Control-Allow-Origin"] == settings.CORS_ALLOWED_ORIGINS[0]
    assert "PUT" in answer["Access-Control-Allow-Methods"]


def test_a_large_view_of_a_thing_is_kept_in_full(alice: User, store: str) -> None:
    client = api(alice)
    content = encoded(portrait(size=(6000, 3000)), "TIFF", compression="tiff_lzw")

    upload = announced(client, content, filename="thing.tif", content_type="image/tiff", purpose="model3d")
    put(upload["url"], content, upload["headers"])
    photo = complete(client, upload).json()

    assert (photo["width"], photo["height"], photo["original_format"]) == (6000, 3000, "TIFF")
    assert (photo["purpose"], photo["content_type"]) == ("model3d", "image/jpeg")


def test_a_tiff_comes_through_us_too(alice: User) -> None:
    file = io.BytesIO(encoded(portrait(), "TIFF"))
    file.name = "thing.tiff"

    answer = api(alice).post("/api/v1/photos", {"file": file, "purpose": "model3d"}, format="multipart")

    assert (answer.status_code, answer.json()["purpose"]) == (201, "model3d")


def test_it_leaves_with_its_owner(alice: User, store: str) -> None:
    upload = announced(api(alice), jpeg())
    put(upload["url"], jpeg(), upload["headers"])
    key = Upload.objects.get().file.key

    uploads.forget(user=alice)

    assert not Upload.objects.exists()
    assert not storage.exists(key)
    assert StoredObject.objects.filter(key=key).exists()  # what is put late is swept all the same
    assert "generation.leaving.erase" in erasure.settings.ACCOUNT_ERASED


@pytest.mark.django_db(transaction=True)
def test_completed_at_once_by_many_it_is_one(settings: Any) -> None:
    settings.RATELIMIT_ENABLE = False
    alice = make_user()
    client = api(alice)
    upload = announced(client, jpeg())
    put(upload["url"], jpeg(), upload["headers"])

    found = in_parallel(*[partial(uploads.complete, user=alice, upload_id=upload["photo"])] * 6)

    assert {type(one).__name__ for one in found} <= {"Photo", "Conflict"}
    assert {str(one.pk) for one in found if not isinstance(one, Error)} == {upload["photo"]}
    assert Photo.objects.count() == 1
    assert StoredObject.objects.filter(expires_at=None).count() == 1
    assert complete(client, upload).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_while_one_decodes_the_others_are_told_to_wait_and_a_lapsed_one_is_overtaken(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.RATELIMIT_ENABLE = False
    alice = make_user()
    client = api(alice)
    upload = announced(client, jpeg())
    put(upload["url"], jpeg(), upload["headers"])
    inside, go_on = threading.Event(), threading.Event()
    decode = photos.decode

    def slow(file: Any, purpose: str) -> pictures.Picture:
        picture = decode(file, purpose)
        if not inside.is_set():
            inside.set()
            assert go_on.wait(60)
        return picture

    monkeypatch.setattr(photos, "decode", slow)

    def others() -> Any:
        until(inside.is_set, "the first decodes")
        told = complete(client, upload)
        Upload.objects.update(locked_until=Now())
        photo = uploads.complete(user=alice, upload_id=upload["photo"])
        go_on.set()
        return told.status_code, told.json()["error"], told["Retry-After"], photo

    first, second = in_parallel(partial(uploads.complete, user=alice, upload_id=upload["photo"]), others)

    assert second[:3] == (409, "conflict", "1")
    assert first.pk == second[3].pk
    assert Photo.objects.count() == 1
    assert StoredObject.objects.filter(expires_at=None).count() == 1

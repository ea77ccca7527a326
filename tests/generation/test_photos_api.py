"""photos over HTTP."""

from __future__ import annotations

import io
import os
from typing import Any

import pytest
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts.models import User
from audit.models import AuditLog
from core import storage
from core.models import StoredObject
from generation.models import Photo
from tests.generation.material import encoded, jpeg, order, photo_of, portrait, sweep
from tests.people import api
from tests.stores import fetch

URL = "/api/v1/photos"


def send(client: APIClient, content: bytes, name: str = "me.jpg", **fields: Any) -> Any:
    file = io.BytesIO(content)
    file.name = name
    headers = fields.pop("headers", {})
    return client.post(URL, {"file": file} | fields, format="multipart", headers=headers)


def test_a_photo_is_taken_shown_linked_and_deleted(alice: User, bob: User, store: str) -> None:
    client = api(alice)

    made = send(client, jpeg(size=(3000, 2000)), "C:\\pics\\../me\x00.jpg", title="Me", description="At the sea")

    assert made.status_code == 201
    photo = made.json()
    assert made["Location"] == f"{URL}/{photo['id']}"
    assert photo | {"id": "", "created_at": "", "sha256": "", "bytes": 0, "original_bytes": 0} == {
        "id": "",
        "purpose": "photo",
        "filename": "me.jpg",
        "title": "Me",
        "description": "At the sea",
        "content_type": "image/jpeg",
        "bytes": 0,
        "width": 2048,
        "height": 1365,
        "sha256": "",
        "original_format": "JPEG",
        "original_bytes": 0,
        "original_width": 3000,
        "original_height": 2000,
        "focal_length_mm": None,
        "camera_make": "",
        "camera_model": "",
        "created_at": "",
    }
    assert client.get(f"{URL}/{photo['id']}").json() == photo
    assert [row["id"] for row in client.get(URL).json()["results"]] == [photo["id"]]
    link = client.get(f"{URL}/{photo['id']}/url").json()
    assert link["expires_in"] >= 900
    status, content, _ = fetch(link["url"])
    assert (status, len(content)) == (200, photo["bytes"])
    stranger = api(bob)
    for method, path in (("get", ""), ("get", "/url"), ("delete", "")):
        assert getattr(stranger, method)(f"{URL}/{photo['id']}{path}").status_code == 404

    assert client.delete(f"{URL}/{photo['id']}").status_code == 204
    for path in (f"{URL}/{photo['id']}", f"{URL}/{photo['id']}/url"):
        assert client.get(path).status_code == 404
    assert client.delete(f"{URL}/{photo['id']}").status_code == 404
    assert client.get(URL).json()["count"] == 0
    actions = AuditLog.objects.filter(entity_id=photo["id"]).order_by("id").values_list("action", flat=True)
    assert list(actions) == ["photo.uploaded", "photo.deleted"]


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"MZ" + b"\x00" * 900, 415, "unsupported_media_type"),
        (jpeg()[:2000], 400, "image_unreadable"),
        (b"", 400, "invalid"),
    ],
    ids=["executable", "truncated", "empty"],
)
def test_a_bad_file_is_refused_and_nothing_is_kept(alice: User, content: bytes, status: int, code: str) -> None:
    answer = send(api(alice), content)

    assert (answer.status_code, answer.json()["error"]) == (status, code)
    assert not Photo.objects.exists()
    assert not StoredObject.objects.exists()


@pytest.mark.parametrize("by", [1, 10_000_000])
def test_a_file_over_the_cap_is_413_and_drained(alice: User, settings: Any, by: int) -> None:
    settings.PHOTO_MAX_BYTES = 3_000_000

    answer = send(api(alice), os.urandom(settings.PHOTO_MAX_BYTES + by))

    assert (answer.status_code, answer.json()["error"]) == (413, "too_large")
    assert answer.json()["message"] == "The picture is larger than 3 MB."


def test_51_mb_is_refused_at_the_default_cap(alice: User, settings: Any) -> None:
    assert settings.PHOTO_MAX_BYTES == 50_000_000

    answer = send(api(alice), b"\xff\xd8\xff" + bytes(51_000_000))

    assert (answer.status_code, answer.json()["error"]) == (413, "too_large")


def test_the_body_is_strict(alice: User) -> None:
    client = api(alice)

    assert client.post(URL, {"file": "text"}, format="multipart").status_code == 400
    assert client.post(URL, {}, format="multipart").json()["details"][0]["code"] == "required"
    assert send(client, jpeg(), owner="bob").json()["details"][0]["code"] == "unknown_field"
    assert send(client, jpeg(), title="x" * 121).status_code == 400
    assert client.post(URL, {"file": "x"}, format="json").status_code == 415
    assert not Photo.objects.exists()


def test_a_form_that_is_broken_or_endless_is_400(alice: User, settings: Any) -> None:
    settings.RATELIMIT_ENABLE = False
    client = api(alice)
    kind = "multipart/form-data; boundary=x"
    part = b'--x\r\nContent-Disposition: form-data; name="f%d"; filename="a"\r\n\r\n1\r\n'
    many = b"".join(part % n for n in range(150))

    for body, content_type in (
        (many + b"--x--\r\n", kind),
        (b"--y\r\nnothing", kind),
        (b"", kind),
        (b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n', kind),
        (b"--x", "multipart/form-data"),
    ):
        answer = client.generic("POST", URL, body, content_type=content_type)
        assert answer.status_code == 400, answer.content
        assert answer.json()["charged"] == "none"
    assert not Photo.objects.exists()


def test_who_may_upload(anonymous: APIClient, unverified: User) -> None:
    assert send(anonymous, jpeg()).status_code == 401
    answer = send(api(unverified), jpeg())
    assert (answer.status_code, answer.json()["error"]) == (403, "email_not_verified")


def test_the_same_key_is_the_same_photo(alice: User) -> None:
    client = api(alice)
    key = {"Idempotency-Key": "once"}

    first = send(client, jpeg(), headers=key)
    again = send(client, jpeg(), headers=key)

    assert (first.status_code, again.status_code) == (201, 201)
    assert again["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()
    assert Photo.objects.count() == 1


def test_the_list_takes_the_same_queries_however_long(alice: User, django_assert_max_num_queries: Any) -> None:
    client = api(alice)
    for seed in range(3):
        photo_of(alice, jpeg(seed))
    from django.db import connection

    with CaptureQueriesContext(connection) as three:
        assert client.get(URL).json()["count"] == 3
    for seed in range(4):
        photo_of(alice, jpeg(seed))
    with CaptureQueriesContext(connection) as seven:
        assert client.get(f"{URL}?limit=100").json()["count"] == 7

    assert len(seven) == len(three) <= 4


def test_a_deleted_photo_keeps_its_bytes_while_an_open_job_uses_it(rich: User, store: str) -> None:
    photo = photo_of(rich, encoded(portrait(), "PNG"))
    key = photo.file.key
    job = order(rich, photo)
    api(rich).delete(f"{URL}/{photo.pk}")

    sweep()
    assert storage.exists(key)

    from generation import jobs

    jobs.cancel(user=rich, job_id=job.pk)
    sweep()
    assert not storage.exists(key)
    photo.refresh_from_db()
    assert photo.file is None
    assert not StoredObject.objects.exists()

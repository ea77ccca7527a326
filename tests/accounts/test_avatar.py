"""The picture on a profile, over HTTP."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import Client
from PIL import Image
from rest_framework.test import APIClient

from accounts import avatars
from accounts.models import User
from core import files, storage
from core.models import StoredObject
from tests.dying import die_at
from tests.generation.material import encoded, jpeg, portrait
from tests.people import api, make_user

pytestmark = pytest.mark.django_db

URL = "/api/v1/users/me"


def send(client: APIClient, content: bytes, method: str = "patch", **fields: Any) -> Any:
    file = io.BytesIO(content)
    file.name = "me.jpg"
    return getattr(client, method)(URL, {"avatar": file} | fields, format="multipart")


def fetched(url: str) -> Image.Image:
    parts = urlsplit(url)
    response: Any = Client().get(parts.path)
    assert response.status_code == 200
    return Image.open(io.BytesIO(b"".join(response.streaming_content)))


@pytest.mark.parametrize("method", ["patch", "put"])
def test_a_picture_becomes_a_square_upright_and_bare(alice: User, method: str) -> None:
    image = portrait(size=(900, 600))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "A camera"

    answer = send(api(alice), encoded(image, "JPEG", exif=exif, quality=95), method, first_name="Al")

    assert answer.status_code == 200, answer.json()
    assert answer.json()["first_name"] == "Al"
    shown = fetched(answer.json()["avatar_url"])
    assert (shown.size, shown.format) == ((512, 512), "JPEG")
    assert not dict(shown.getexif())
    upright = image.transpose(Image.Transpose.ROTATE_270).crop((0, 150, 600, 750)).resize((512, 512))
    for spot in ((256, 256), (20, 256), (490, 100)):
        assert all(abs(a - b) < 12 for a, b in zip(shown.getpixel(spot), upright.getpixel(spot), strict=True))  # type: ignore[arg-type]


def test_a_small_picture_is_not_blown_up(alice: User) -> None:
    answer = send(api(alice), encoded(portrait(size=(90, 60)), "PNG"))

    assert fetched(answer.json()["avatar_url"]).size == (60, 60)


def test_a_new_picture_takes_the_place_of_the_old_and_null_removes_it(alice: User, store: str) -> None:
    client = api(alice)
    send(client, jpeg(1))
    alice.refresh_from_db()
    first = alice.avatar_id

    send(client, jpeg(2))
    files.remove_expired()

    alice.refresh_from_db()
    assert alice.avatar_id != first
    assert (storage.exists(first), storage.exists(alice.avatar_id)) == (False, True)
    answer = client.patch(URL, {"avatar": None})
    files.remove_expired()
    assert answer.json()["avatar_url"] is None
    assert not StoredObject.objects.exists()
    assert client.patch(URL, {"avatar": None}).status_code == 200


def test_showing_it_costs_no_query(alice: User, django_assert_num_queries: Any) -> None:
    client = api(alice)
    send(client, jpeg())

    with django_assert_num_queries(1):
        assert client.get(URL).json()["avatar_url"]


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 400, "invalid"),
        (b"<svg onload='alert(1)'/>", 415, "unsupported_media_type"),
        (jpeg()[:2000], 400, "image_unreadable"),
    ],
)
def test_what_is_no_picture_is_refused_and_changes_nothing(alice: User, content: bytes, status: int, code: str) -> None:
    answer = send(api(alice), content, first_name="Changed")

    assert (answer.status_code, answer.json()["error"]) == (status, code)
    alice.refresh_from_db()
    assert (alice.first_name, alice.avatar_id) == ("Alice", None)
    assert not StoredObject.objects.exists()


def test_a_picture_too_large_is_refused(alice: User, settings: Any) -> None:
    settings.AVATAR_MAX_BYTES = 1000

    answer = send(api(alice), jpeg())

    assert (answer.status_code, answer.json()["error"]) == (413, "too_large")


def test_a_taken_username_keeps_the_old_picture_and_the_new_one_goes(alice: User, bob: User) -> None:
    api(bob).patch(URL, {"username": "potter"})

    answer = send(api(alice), jpeg(), username="Potter")

    assert answer.status_code == 409
    alice.refresh_from_db()
    assert alice.avatar_id is None
    assert [stored.expires_at is not None for stored in StoredObject.objects.all()] == [True]


@pytest.mark.parametrize("field", ["status", "credits", "is_staff", "verified_at", "avatar_url"])
def test_a_form_cannot_write_more_than_json(alice: User, field: str) -> None:
    answer = send(api(alice), jpeg(), **{field: "1"})

    assert (answer.status_code, answer.json()["details"][0]["code"]) == (400, "unknown_field")


def test_a_picture_needs_a_verified_mailbox(unverified: User, anonymous: APIClient) -> None:
    answer = send(api(unverified), jpeg())

    assert (answer.status_code, answer.json()["error"]) == (403, "email_not_verified")
    assert send(anonymous, jpeg()).status_code == 401
    assert not StoredObject.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_death_with_the_picture_stored_leaves_nothing_for_good(tmp_path: Path) -> None:
    alice = make_user("alice@example.com")
    (tmp_path / "me.jpg").write_bytes(jpeg())

    with open(tmp_path / "me.jpg", "rb") as file:
        die_at("accounts.avatars.saved", lambda: avatars.take(alice, file))

    alice.refresh_from_db()
    assert alice.avatar_id is None
    assert StoredObject.objects.get().expires_at is not None


def test_pictures_are_limited_like_uploads_and_plain_changes_are_not(alice: User, settings: Any) -> None:
    settings.RATELIMIT_ENABLE = True
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"uploads": (1, 86_400, "user")}
    client = api(alice)

    assert [send(client, jpeg()).status_code, send(client, jpeg()).status_code] == [200, 429]
    assert client.patch(URL, {"bio": "Still here"}).status_code == 200

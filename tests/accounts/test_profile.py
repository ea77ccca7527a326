from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from audit.models import AuditDetail, AuditLog
from tests.people import api

pytestmark = pytest.mark.django_db

URL = "/api/v1/users/me"


def test_me_is_me(alice: User) -> None:
    answer = api(alice).get(URL)

    assert answer.status_code == 200
    assert set(answer.json()) == {
        "id",
        "email",
        "username",
        "first_name",
        "last_name",
        "bio",
        "avatar_url",
        "locale",
        "currency",
        "status",
        "is_verified",
        "verified_at",
        "created_at",
        "updated_at",
    }
    assert answer.json()["id"] == str(alice.pk)
    assert answer.json()["is_verified"] is True
    assert answer.json()["verified_at"].endswith("Z")


def test_nobody_has_no_profile(anonymous: APIClient) -> None:
    codes = [getattr(anonymous, method)(URL).status_code for method in ("get", "put", "patch")]

    assert codes == [401, 401, 401]


@pytest.mark.parametrize("method", ["put", "patch"])
def test_the_profile_changes_by_what_is_named(alice: User, method: str) -> None:
    answer = getattr(api(alice), method)(URL, {"bio": "Potter\nand sailor", "currency": "INR", "locale": "en-IN"})

    assert answer.status_code == 200
    assert (answer.json()["bio"], answer.json()["currency"]) == ("Potter\nand sailor", "INR")
    assert answer.json()["first_name"] == "Alice"
    before = alice.updated_at
    alice.refresh_from_db()
    assert alice.locale == "en-IN"
    assert alice.updated_at > before


def test_personal_parts_of_a_change_are_kept_apart_in_the_log(alice: User) -> None:
    api(alice).patch(URL, {"first_name": "Alicia", "currency": "USD"})

    row = AuditLog.objects.get(action="user.updated")
    assert row.metadata == {"fields": ["currency", "first_name"]}
    assert "Alicia" not in f"{row.old} {row.new} {row.metadata}"
    detail = AuditDetail.objects.get(log=row)
    assert detail.personal == {
        "old": {"first_name": "Alice", "currency": None},
        "new": {"first_name": "Alicia", "currency": "USD"},
    }


def test_a_change_to_the_same_changes_nothing(alice: User) -> None:
    api(alice).patch(URL, {"first_name": "Alice"})
    api(alice).patch(URL, {})

    assert not AuditLog.objects.filter(action="user.updated").exists()


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        *(
            ({name: 1}, name, "unknown_field")
            for name in (
                "id",
                "email",
                "password",
                "credits",
                "role",
                "status",
                "is_staff",
                "is_superuser",
                "is_verified",
                "verified_at",
                "epoch",
                "groups",
                "user_permissions",
                "last_login",
                "created_at",
                "updated_at",
            )
        ),
        ({"first_name": None}, "first_name", "null"),
        ({"first_name": "x" * 101}, "first_name", "max_length"),
        ({"bio": "x" * 1001}, "bio", "max_length"),
        ({"bio": "a\x07"}, "bio", "control_characters"),
        ({"currency": "XXX"}, "currency", "invalid_choice"),
        ({"currency": "inr"}, "currency", "invalid_choice"),
        ({"currency": "CREDIT"}, "currency", "invalid_choice"),
        ({"locale": "english please"}, "locale", "invalid"),
        ({"locale": "e"}, "locale", "invalid"),
        ({"locale": "en_IN"}, "locale", "invalid"),
        ({"locale": "en-IN-IN"}, "locale", "invalid"),
        ({"locale": "de-1996-1996"}, "locale", "invalid"),
        ({"locale": "en-" + "x" * 40}, "locale", "invalid"),
        ({"locale": 7}, "locale", "invalid"),
        ({"avatar": "me.jpg"}, "avatar", "invalid"),
        ({"avatar_url": "https://example.com/me.jpg"}, "avatar_url", "unknown_field"),
        ({"username": "al"}, "username", "invalid"),
        ({"username": "älice"}, "username", "invalid"),
        ({"username": "a b"}, "username", "invalid"),
        ({"username": ""}, "username", "blank"),
        ({"username": "ali\nce"}, "username", "invalid"),
    ],
)
def test_a_bad_change_is_400_and_changes_nothing(alice: User, body: dict[str, Any], field: str, code: str) -> None:
    client = api(alice)
    before = User.objects.values().get(pk=alice.pk)

    answer = client.patch(URL, body | {"last_name": "Changed"})

    assert answer.status_code == 400
    assert (field, code) in {(item["field"], item["code"]) for item in answer.json()["details"]}
    assert User.objects.values().get(pk=alice.pk) == before


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("EN-in", "en-IN"),
        ("zh-hant-tw", "zh-Hant-TW"),
        ("es-419", "es-419"),
        ("sl-rozaj-biske", "sl-rozaj-biske"),
        ("de-ch-1996-u-co-phonebk", "de-CH-1996-u-co-phonebk"),
        ("en-x-in-House", "en-x-in-house"),
        ("", ""),
    ],
)
def test_a_language_tag_is_kept_in_its_usual_case(alice: User, given: str, kept: str) -> None:
    assert api(alice).patch(URL, {"locale": given}).json()["locale"] == kept


def test_a_username_is_taken_once_whatever_its_case(alice: User, bob: User) -> None:
    assert api(alice).patch(URL, {"username": "Potter"}).json()["username"] == "Potter"

    answer = api(bob).patch(URL, {"username": "pOTTER", "first_name": "Bobby"})

    assert (answer.status_code, answer.json()["error"]) == (409, "username_taken")
    bob.refresh_from_db()
    assert (bob.username, bob.first_name) == (None, "Bob")
    assert api(alice).patch(URL, {"username": None}).json()["username"] is None
    assert api(bob).patch(URL, {"username": "potter"}).status_code == 200


def test_an_unverified_person_may_edit(unverified: User) -> None:
    assert api(unverified).patch(URL, {"first_name": "U"}).status_code == 200


def test_post_is_not_there(alice: User) -> None:
    assert api(alice).post(URL).status_code == 405

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.hashers import identify_hasher
from django.db import connection
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import users
from accounts.errors import EmailTaken
from accounts.models import EmailVerification, Session, User
from audit.models import AuditLog
from notifications.models import Mail
from tests import books
from tests.billing.racing import race
from tests.people import PASSWORD, api

pytestmark = pytest.mark.django_db

URL = "/api/v1/auth/register"


def body(**changes: Any) -> dict[str, Any]:
    return {"email": "new@example.com", "password": PASSWORD} | changes


def test_registering_answers_the_person_and_a_pair_of_tokens(anonymous: APIClient) -> None:
    answer = anonymous.post(URL, body(email="New@Example.COM", first_name="Zoë", last_name="O'Neil"))

    assert answer.status_code == 201
    assert set(answer.json()) == {"user", "access", "refresh", "expires_in"}
    assert answer.json()["expires_in"] == 900
    user = answer.json()["user"]
    assert user["email"] == "new@example.com"
    assert (user["first_name"], user["last_name"]) == ("Zoë", "O'Neil")
    assert (user["is_verified"], user["verified_at"]) == (False, None)
    assert "password" not in user
    me = api().get("/api/v1/users/me", headers={"authorization": f"Bearer {answer.json()['access']}"})
    assert me.status_code == 200
    assert me.json() == user


@pytest.mark.usefixtures("slow_hashes")
def test_registering_leaves_one_of_each_row(anonymous: APIClient) -> None:
    anonymous.post(URL, body())

    user = User.objects.get(email="new@example.com")
    assert not user.is_staff
    assert not user.is_superuser
    assert identify_hasher(user.password).algorithm == "argon2"
    assert user.password.startswith("argon2$argon2id$v=19$m=47104,t=1,p=1$")
    assert Session.objects.filter(user=user).count() == 1
    assert EmailVerification.objects.filter(user=user).count() == 1
    mail = Mail.objects.get(user=user)
    assert (mail.name, mail.to, mail.state) == ("verify-email", "new@example.com", "queued")
    actions = AuditLog.objects.filter(user_id=user.pk).order_by("id").values_list("action", flat=True)
    assert [a for a in actions if a.split(".")[0] in ("user", "email_verification")] == [
        "email_verification.issued",
        "user.registered",
        "user.logged_in",
    ]


def test_no_secret_is_stored_or_recorded(anonymous: APIClient) -> None:
    answer = anonymous.post(URL, body()).json()

    with connection.cursor() as cursor:
        cursor.execute("SELECT to_jsonb(a)::text || to_jsonb(d)::text FROM audit_auditlog a, audit_auditdetail d")
        audited = " ".join(row[0] for row in cursor.fetchall())
        cursor.execute("SELECT to_jsonb(m)::text FROM notifications_mail m")
        mailed = " ".join(row[0] for row in cursor.fetchall())
        cursor.execute("SELECT to_jsonb(s)::text FROM accounts_session s")
        kept = " ".join(row[0] for row in cursor.fetchall())
    from tests.people import verification_token

    token = verification_token(User.objects.get())
    for secret in (PASSWORD, token, answer["access"], answer["refresh"]):
        assert secret not in audited + mailed + kept


@pytest.mark.parametrize("email", ["new@example.com", "NEW@example.COM", "\uff4eew@example.com"])
def test_a_known_address_is_409_and_changes_nothing(anonymous: APIClient, email: str) -> None:
    anonymous.post(URL, body())
    before = User.objects.values().get()

    answer = anonymous.post(URL, body(email=email, password="another pass 77", first_name="X"))

    # EmailField itself refuses letters that are not ASCII; either way nobody is made or changed.
    assert answer.status_code == (409 if email.isascii() else 400)
    assert answer.json()["error"] == ("email_taken" if email.isascii() else "invalid")
    assert answer.json()["charged"] == "none"
    assert User.objects.values().get() == before
    assert Session.objects.count() == Mail.objects.count() == 1


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"email": "nobody"}, "email", "invalid"),
        ({"email": ""}, "email", "blank"),
        ({"email": None}, "email", "null"),
        ({"email": ["a@example.com"]}, "email", "invalid"),
        ({"email": f"{'a' * 250}@example.com"}, "email", "max_length"),
        ({"email": "a@example.com\nBcc: b@example.com"}, "email", "invalid"),
        ({"password": "short"}, "password", "min_length"),
        ({"password": "x" * 129}, "password", "max_length"),
        ({"password": "12345678901"}, "password", "password_entirely_numeric"),
        ({"password": "password1"}, "password", "password_too_common"),
        ({"password": "new@example.com"}, "password", "password_too_similar"),
        ({"password": 12345678}, "password", "invalid"),
        ({"first_name": "a" * 101}, "first_name", "max_length"),
        ({"first_name": "a\x00b"}, "first_name", "control_characters"),
        ({"first_name": "a\x1bb"}, "first_name", "control_characters"),
        ({"first_name": 7}, "first_name", "invalid"),
        *(
            ({name: "1"}, name, "unknown_field")
            for name in (
                "credits",
                "role",
                "status",
                "is_staff",
                "is_superuser",
                "verified_at",
                "epoch",
                "id",
                "groups",
            )
        ),
    ],
)
def test_a_bad_body_is_400_by_field(anonymous: APIClient, changes: dict[str, Any], field: str, code: str) -> None:
    answer = anonymous.post(URL, body(**changes))

    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid"
    assert {(item["field"], item["code"]) for item in answer.json()["details"]} >= {(field, code)}
    assert not User.objects.exists()


@pytest.mark.parametrize("raw", ["", "[]", '"x"', "null", "{", '{"email": NaN}'])
def test_a_body_that_is_no_object_is_400(anonymous: APIClient, raw: str) -> None:
    answer = anonymous.generic("POST", URL, raw, content_type="application/json")

    assert answer.status_code == 400
    assert not User.objects.exists()


def test_names_are_kept_as_typed(anonymous: APIClient) -> None:
    anonymous.post(URL, body(first_name="Zoe\u0308", last_name="<b>d'Árc</b> 😀"))

    user = User.objects.get()
    assert user.first_name == "Zoë"  # NFC
    assert user.last_name == "<b>d'Árc</b> 😀"


def test_a_password_is_taken_as_typed(anonymous: APIClient) -> None:
    anonymous.post(URL, body(password="  spaces around ß  "))

    assert User.objects.get().check_password("  spaces around ß  ")


def test_whatever_the_person_needs_is_made_with_them_or_not_at_all(anonymous: APIClient, settings: Settings) -> None:
    settings.USER_REGISTERED = ["tests.accounts.test_register.refuse"]

    with pytest.raises(RuntimeError, match="no wallets today"):
        users.register(email="new@example.com", password=PASSWORD)

    assert not User.objects.exists()
    assert not Mail.objects.exists()
    assert not AuditLog.objects.exists()


def refuse(*, user: User) -> None:
    raise RuntimeError("no wallets today")


def test_an_old_token_in_the_header_does_not_stop_a_registration() -> None:
    answer = api().post(URL, body(), headers={"authorization": "Bearer rubbish"})

    assert answer.status_code == 201


@pytest.mark.django_db(transaction=True)
def test_of_registrations_at_once_one_wins() -> None:
    outcomes: list[str] = []

    def register() -> None:
        try:
            users.register(email="race@example.com", password=PASSWORD)
            outcomes.append("made")
        except EmailTaken:
            outcomes.append("taken")
        finally:
            connection.close()

    threads = [threading.Thread(target=register) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["made"] + ["taken"] * 7
    user = User.objects.get(email="race@example.com")
    assert Mail.objects.filter(user=user).count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_registrations_at_once_over_http_one_is_201_and_the_others_are_409() -> None:
    spellings = ["race@example.com", "RACE@example.com", "race@EXAMPLE.com"] * 3

    answers = race(*(partial(api().post, URL, body(email=email)) for email in spellings))

    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 8
    assert {answer.json()["error"] for answer in answers if answer.status_code == 409} == {"email_taken"}
    assert User.objects.count() == Session.objects.count() == Mail.objects.count() == 1
    books.check()


def test_registrations_are_limited_per_address(limited: None) -> None:
    client = APIClient(REMOTE_ADDR="198.51.100.7", headers={"user-agent": "tests"})

    codes = [client.post(URL, {}).status_code for _ in range(6)]

    assert codes == [400] * 5 + [429]
    assert api().post(URL, body(), REMOTE_ADDR="198.51.100.8").status_code == 201

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import hashers, sessions
from accounts.errors import SessionEnded
from accounts.models import Session, User, UserStatus
from audit.models import AuditLog
from tests.people import PASSWORD, api

pytestmark = pytest.mark.django_db

URL = "/api/v1/auth/login"


def test_the_right_password_opens_a_session(alice: User, anonymous: APIClient) -> None:
    answer = anonymous.post(URL, {"email": "ALICE@example.com", "password": PASSWORD}, REMOTE_ADDR="192.0.2.9")

    assert answer.status_code == 200
    assert set(answer.json()) == {"user", "access", "refresh", "expires_in"}
    assert answer.json()["user"]["id"] == str(alice.pk)
    session = Session.objects.get(user=alice)
    assert (session.ip, session.user_agent, session.remember) == ("192.0.2.9", "tests", False)
    assert session.expires_at - session.created_at == pytest.approx(_minutes(60), abs=_minutes(0.1))
    row = AuditLog.objects.filter(action="user.logged_in").latest("id")
    assert (row.actor_id, row.user_id) == (alice.pk, alice.pk)
    alice.refresh_from_db()
    assert alice.last_login is not None


def _minutes(number: float) -> Any:
    from datetime import timedelta

    return timedelta(minutes=number)


def test_remembered_sessions_live_thirty_days(alice: User, anonymous: APIClient) -> None:
    anonymous.post(URL, {"email": alice.email, "password": PASSWORD, "remember_me": True})

    session = Session.objects.get(user=alice)
    assert session.remember
    assert session.expires_at - session.created_at == pytest.approx(_minutes(43_200), abs=_minutes(0.1))


@pytest.mark.parametrize(
    ("email", "password"),
    [("alice@example.com", "wrong password"), ("nobody@example.com", PASSWORD), ("alice@example.com", f"{PASSWORD} ")],
)
def test_a_wrong_password_and_an_unknown_address_answer_alike(
    alice: User, anonymous: APIClient, email: str, password: str
) -> None:
    answer = anonymous.post(URL, {"email": email, "password": password})

    assert answer.status_code == 401
    assert answer.json()["error"] == "invalid_credentials"
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="api"'
    assert {**answer.json(), "request_id": ""} == {
        "error": "invalid_credentials",
        "message": "The e-mail address or the password is wrong.",
        "details": [],
        "charged": "none",
        "request_id": "",
    }
    assert not Session.objects.exists()
    row = AuditLog.objects.get(action="user.login_failed")
    assert row.entity_id in (str(alice.pk), "unknown")
    assert row.actor_id is None


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A word for each time that the slow hash is made."""
    made: list[str] = []
    slow = hashers.Argon2id.encode, hashers.Argon2id.verify
    monkeypatch.setattr(hashers.Argon2id, "encode", lambda *given: made.append("encode") or slow[0](*given))
    monkeypatch.setattr(hashers.Argon2id, "verify", lambda *given: made.append("verify") or slow[1](*given))
    return made


@pytest.mark.django_db(transaction=True)  # as in a request: BEGIN and COMMIT would be counted too
def test_signing_in_costs_one_hash_and_two_queries(alice: User, anonymous: APIClient, hashes: list[str]) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert anonymous.post(URL, {"email": alice.email, "password": PASSWORD}).status_code == 200

    assert hashes == ["verify"]
    assert len(queries) == 2


@pytest.mark.django_db(transaction=True)
def test_an_unknown_address_costs_as_much_as_a_wrong_password(
    alice: User, anonymous: APIClient, hashes: list[str]
) -> None:
    def shape(email: str) -> tuple[list[str], int]:
        hashes.clear()
        with CaptureQueriesContext(connection) as queries:
            assert anonymous.post(URL, {"email": email, "password": "wrong password"}).status_code == 401
        return [query["sql"].split("'")[0] for query in queries], len(hashes)

    known, unknown = shape("alice@example.com"), shape("nobody@example.com")

    assert known == unknown
    assert (len(known[0]), known[1]) == (2, 1)


def test_a_password_changed_while_somebody_signs_in_opens_nothing(alice: User) -> None:
    proved = User.objects.get(pk=alice.pk)
    User.objects.filter(pk=alice.pk).update(epoch=1)

    with pytest.raises(SessionEnded):
        sessions.open_for(proved, remember=False)

    assert not Session.objects.exists()
    assert not AuditLog.objects.filter(action="user.logged_in").exists()


def test_a_suspended_person_is_told_so_only_with_the_right_password(alice: User, anonymous: APIClient) -> None:
    User.objects.filter(pk=alice.pk).update(status=UserStatus.SUSPENDED)

    wrong = anonymous.post(URL, {"email": alice.email, "password": "wrong password"})
    right = anonymous.post(URL, {"email": alice.email, "password": PASSWORD})

    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_credentials")
    assert (right.status_code, right.json()["error"]) == (403, "account_suspended")
    assert not Session.objects.exists()


@pytest.mark.parametrize("status", [UserStatus.DELETING, UserStatus.DELETED])
def test_whoever_left_has_no_account(alice: User, anonymous: APIClient, status: str) -> None:
    User.objects.filter(pk=alice.pk).update(status=status)

    answer = anonymous.post(URL, {"email": alice.email, "password": PASSWORD})

    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_credentials")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "email"),
        ({"email": "alice@example.com"}, "password"),
        ({"email": "alice@example.com", "password": "x" * 129}, "password"),
        ({"email": "alice@example.com", "password": PASSWORD, "otp": "1" * 41}, "otp"),
        ({"email": "alice@example.com", "password": PASSWORD, "token": "123456"}, "token"),
        ({"email": "alice@example.com", "password": PASSWORD, "remember_me": "perhaps"}, "remember_me"),
        ({"email": "alice@example.com", "password": "a\x00b"}, "password"),
    ],
)
def test_a_bad_body_is_400(alice: User, anonymous: APIClient, body: dict[str, Any], field: str) -> None:
    answer = anonymous.post(URL, body)

    assert answer.status_code == 400
    assert field in {item.get("field") for item in answer.json()["details"]}
    assert not AuditLog.objects.filter(action="user.login_failed").exists()


def test_failed_logins_are_limited_and_successes_are_not_counted(alice: User, settings: Settings) -> None:
    settings.RATELIMIT_ENABLE = True
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"auth": (100, 86_400, "ip"), "failed_logins": (3, 86_400, "ip")}
    client = APIClient(REMOTE_ADDR="198.51.100.20", headers={"user-agent": "tests"})
    right = {"email": alice.email, "password": PASSWORD}
    wrong = right | {"password": "wrong password"}

    codes = [client.post(URL, body).status_code for body in (right, wrong, right, wrong, right, wrong, right, wrong)]

    assert codes == [200, 401, 200, 401, 200, 401, 429, 429]


def test_the_security_log_says_who_and_what_but_no_secret(
    alice: User, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    api().post(URL, {"email": alice.email, "password": "a wrong password"})
    api().post(URL, {"email": alice.email, "password": PASSWORD})

    lines = [record.getMessage() for record in caplog.records if record.name == "security"]
    assert any("invalid_credentials" in line and str(alice.pk) in line for line in lines)
    assert any("'ok'" in line and str(alice.pk) in line for line in lines)
    assert PASSWORD not in caplog.text
    assert "a wrong password" not in caplog.text
    assert alice.email not in caplog.text

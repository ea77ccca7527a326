from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from pytest_django import Settings
from rest_framework.response import Response
from rest_framework.test import APIClient

from accounts import sessions
from accounts.api import tokens
from accounts.models import Session, User, UserStatus
from audit.models import AuditLog
from tests.people import api, make_user, open_session

pytestmark = pytest.mark.django_db

URL = "/api/v1/auth/refresh"


def refresh(token: str, **headers: str) -> Any:
    return api(**headers).post(URL, {"refresh": token})


def first(user: User, *, remember: bool = False) -> tuple[Session, str]:
    """A session that the tests' user agent opened, with its first refresh token."""
    session = open_session(user, remember=remember)
    Session.objects.filter(pk=session.pk).update(user_agent="tests")
    return session, tokens.pair(session)["refresh"]


def lives(access: str) -> Response:
    return APIClient().get("/api/v1/users/me", headers={"authorization": f"Bearer {access}"})


def age_rotation(session: Session, seconds: float) -> None:
    Session.objects.filter(pk=session.pk).update(rotated_at=Now() - timedelta(seconds=seconds))


def test_refreshing_answers_a_new_pair_and_prolongs_the_session(alice: User) -> None:
    session, token = first(alice)
    Session.objects.filter(pk=session.pk).update(expires_at=Now() + timedelta(minutes=3))

    answer = refresh(token)

    assert answer.status_code == 200
    assert set(answer.json()) == {"user", "access", "refresh", "expires_in"}
    assert answer.json()["refresh"] != token
    assert lives(answer.json()["access"]).status_code == 200
    session.refresh_from_db()
    assert session.rotation == 1
    assert session.expires_at - session.rotated_at == timedelta(minutes=60)
    assert AuditLog.objects.filter(action="session.refreshed", entity_id=str(session.pk)).count() == 1


def test_a_remembered_session_is_prolonged_by_thirty_days(alice: User) -> None:
    session, token = first(alice, remember=True)

    refresh(token)

    session.refresh_from_db()
    assert session.expires_at - session.rotated_at == timedelta(days=30)


def test_a_chain_of_refreshes_works(alice: User) -> None:
    session, token = first(alice)

    for _ in range(5):
        token = refresh(token).json()["refresh"]

    session.refresh_from_db()
    assert session.rotation == 5
    assert session.ended_at is None


def test_a_spent_token_that_comes_back_ends_the_whole_session(alice: User) -> None:
    session, stolen = first(alice)
    answer = refresh(stolen).json()
    age_rotation(session, 10.5)

    reuse = refresh(stolen)

    assert (reuse.status_code, reuse.json()["error"]) == (401, "refresh_reused")
    session.refresh_from_db()
    assert session.end_reason == "reused"
    assert lives(answer["access"]).json()["error"] == "session_ended"
    assert refresh(answer["refresh"]).json()["error"] == "session_ended"
    assert AuditLog.objects.filter(action="user.logged_out", metadata__reason="reused").count() == 1


def test_an_older_spent_token_ends_the_session_even_at_once(alice: User) -> None:
    session, stolen = first(alice)
    refresh(refresh(stolen).json()["refresh"])

    reuse = refresh(stolen)

    assert reuse.json()["error"] == "refresh_reused"
    session.refresh_from_db()
    assert session.ended_at is not None


def test_a_lost_answer_is_forgiven_for_ten_seconds(alice: User) -> None:
    session, token = first(alice)
    lost = refresh(token).json()
    age_rotation(session, 5)

    again = refresh(token)

    assert again.status_code == 200
    assert again.json()["refresh"] != lost["refresh"]
    session.refresh_from_db()
    assert (session.rotation, session.ended_at) == (1, None)
    assert lives(again.json()["access"]).status_code == 200


@pytest.mark.parametrize("kept", [0, 1])
def test_whichever_answer_the_tabs_kept_goes_on_working(alice: User, kept: int) -> None:
    session, token = first(alice)
    answers = [refresh(token).json(), refresh(token).json()]
    age_rotation(session, 600)

    assert refresh(answers[kept]["refresh"]).status_code == 200


def test_the_sibling_that_was_left_behind_is_a_spent_token(alice: User) -> None:
    session, token = first(alice)
    kept, other = refresh(token).json(), refresh(token).json()
    refresh(kept["refresh"])
    age_rotation(session, 11)

    assert refresh(other["refresh"]).json()["error"] == "refresh_reused"


def test_the_grace_is_not_for_another_user_agent(alice: User) -> None:
    session, token = first(alice)
    refresh(token)

    thief = refresh(token, **{"user-agent": "curl/8"})

    assert thief.json()["error"] == "refresh_reused"
    session.refresh_from_db()
    assert session.end_reason == "reused"


def test_the_grace_does_not_reach_into_another_session(alice: User) -> None:
    _, token = first(alice)
    other, _ = first(alice)
    refresh(token)

    refresh(token, **{"user-agent": "curl/8"})

    other.refresh_from_db()
    assert other.ended_at is None


def test_an_expired_session_is_not_refreshed(alice: User) -> None:
    session, token = first(alice)
    Session.objects.filter(pk=session.pk).update(expires_at=Now())

    answer = refresh(token)

    assert (answer.status_code, answer.json()["error"]) == (401, "session_ended")
    session.refresh_from_db()
    assert session.rotation == 0


def test_a_raised_epoch_ends_every_token(alice: User) -> None:
    _, token = first(alice)
    User.objects.filter(pk=alice.pk).update(epoch=1)

    assert refresh(token).json()["error"] == "session_ended"


@pytest.mark.parametrize(
    ("status", "code", "http"),
    [
        (UserStatus.SUSPENDED, "account_suspended", 403),
        (UserStatus.DELETING, "session_ended", 401),
        (UserStatus.DELETED, "session_ended", 401),
    ],
)
def test_a_refused_person_gets_no_new_tokens(alice: User, status: str, code: str, http: int) -> None:
    session, token = first(alice)
    User.objects.filter(pk=alice.pk).update(status=status)

    answer = refresh(token)

    assert (answer.status_code, answer.json()["error"]) == (http, code)
    session.refresh_from_db()
    assert session.rotation == 0


@pytest.mark.parametrize("body", [{}, {"refresh": ""}, {"refresh": None}, {"refresh": "x" * 3000}, {"token": "x"}])
def test_a_bad_body_is_400(anonymous: APIClient, body: dict[str, Any]) -> None:
    assert anonymous.post(URL, body).status_code == 400


@pytest.mark.django_db(transaction=True)
def test_one_token_refreshed_by_many_threads_stays_one_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "GRACE", timedelta(minutes=5))  # however long this machine takes for all of them
    session, token = first(make_user("threads@example.com"))
    answers: list[Any] = []

    def spend() -> None:
        try:
            answers.append(refresh(token))
        finally:
            connection.close()

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Counter(answer.status_code for answer in answers) == {200: 8}
    session.refresh_from_db()
    assert (session.rotation, session.ended_at) == (1, None)
    assert len({answer.json()["refresh"] for answer in answers}) == 8


@pytest.mark.django_db(transaction=True)
def test_a_theft_raced_by_its_owner_always_ends_the_session() -> None:
    session, token = first(make_user("theft@example.com"))
    answers: list[Any] = []

    def spend(agent: str) -> None:
        try:
            answers.append(refresh(token, **{"user-agent": agent}))
        finally:
            connection.close()

    threads = [threading.Thread(target=spend, args=(agent,)) for agent in ("tests", "curl/8", "tests", "curl/8")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    session.refresh_from_db()
    assert session.end_reason == "reused"
    assert all(lives(answer.json()["access"]).status_code == 401 for answer in answers if answer.status_code == 200)


def test_refreshes_are_limited_per_session(alice: User, settings: Settings) -> None:
    settings.RATELIMIT_ENABLE = True
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"refresh": (3, 86_400, "session")}
    _, token = first(alice)
    _, other = first(alice)
    codes = []
    for _ in range(4):
        answer = refresh(token)
        codes.append(answer.status_code)
        token = answer.json().get("refresh", "")

    assert codes == [200, 200, 200, 429]
    assert refresh(other).status_code == 200

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.db.models.functions import Now
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from accounts import sessions
from accounts.api import tokens
from accounts.errors import ReauthenticationRequired
from accounts.models import Session, User
from audit.models import AuditLog
from core import clock
from tests.people import api, open_session

pytestmark = pytest.mark.django_db

URL = "/api/v1/users/me/sessions"
LOGOUT = "/api/v1/auth/logout"


def signed_in(session: Session) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {tokens.pair(session)['access']}")
    return client


def test_logging_out_counts_from_the_next_request(alice: User) -> None:
    session, other = open_session(alice), open_session(alice)
    pair = tokens.pair(session)

    answer = signed_in(session).post(LOGOUT)

    assert (answer.status_code, answer.content) == (204, b"")
    assert signed_in(session).get("/api/v1/users/me").json()["error"] == "session_ended"
    assert api().post("/api/v1/auth/refresh", {"refresh": pair["refresh"]}).json()["error"] == "session_ended"
    assert signed_in(other).get("/api/v1/users/me").status_code == 200
    session.refresh_from_db()
    assert session.end_reason == "logout"
    assert AuditLog.objects.filter(action="user.logged_out", user_id=alice.pk).count() == 1


def test_logging_out_again_is_401_and_changes_nothing(alice: User) -> None:
    session = open_session(alice)
    client = signed_in(session)
    client.post(LOGOUT)
    session.refresh_from_db()

    assert client.post(LOGOUT).status_code == 401
    sessions.end(session)

    ended_at = session.ended_at
    session.refresh_from_db()
    assert session.ended_at == ended_at
    assert AuditLog.objects.filter(action="user.logged_out").count() == 1


def test_logging_out_takes_no_body(alice: User) -> None:
    session = open_session(alice)

    assert signed_in(session).post(LOGOUT, {"everywhere": True}).status_code == 400
    session.refresh_from_db()
    assert session.ended_at is None


def test_nobody_cannot_log_out(anonymous: APIClient) -> None:
    assert anonymous.post(LOGOUT).json()["error"] == "not_authenticated"


def test_the_list_holds_my_live_sessions_newest_first(alice: User, bob: User) -> None:
    open_session(bob)
    ended, expired, older, mine = (open_session(alice) for _ in range(4))
    sessions.end(ended)
    Session.objects.filter(pk=expired.pk).update(expires_at=Now())
    Session.objects.filter(pk=older.pk).update(created_at=Now() - timedelta(hours=1))

    answer = signed_in(mine).get(URL)

    assert answer.status_code == 200
    assert set(answer.json()) == {"count", "next", "previous", "results"}
    assert [(row["id"], row["current"]) for row in answer.json()["results"]] == [
        (str(mine.pk), True),
        (str(older.pk), False),
    ]
    assert set(answer.json()["results"][0]) == {
        "id",
        "device",
        "current",
        "ip",
        "user_agent",
        "remember",
        "created_at",
        "last_seen_at",
        "expires_at",
    }


def test_the_list_costs_the_same_for_one_and_for_many(
    alice: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    client = signed_in(open_session(alice))
    for _ in range(30):
        open_session(alice)

    with django_assert_num_queries(3):  # who, count, page
        assert len(client.get(URL, {"limit": 100}).json()["results"]) == 31


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 101}, {"limit": "x"}, {"page": 0}, {"status": "live"}])
def test_bad_parameters_are_400(alice: User, query: dict[str, object]) -> None:
    assert api(alice).get(URL, query).status_code == 400


def test_one_session_can_be_ended(alice: User) -> None:
    mine, lost = open_session(alice), open_session(alice)

    assert signed_in(mine).delete(f"{URL}/{lost.pk}").status_code == 204

    lost.refresh_from_db()
    assert lost.end_reason == "revoked"
    assert signed_in(lost).get("/api/v1/users/me").status_code == 401
    assert signed_in(mine).get("/api/v1/users/me").status_code == 200
    assert signed_in(mine).delete(f"{URL}/{lost.pk}").status_code == 404


def test_a_strangers_session_is_404_and_goes_on(alice: User, bob: User) -> None:
    hers = open_session(alice)

    assert api(bob).delete(f"{URL}/{hers.pk}").status_code == 404
    assert api(bob).delete(f"{URL}/{uuid.uuid4()}").status_code == 404
    assert api(bob).delete(f"{URL}/nonsense").status_code == 404

    hers.refresh_from_db()
    assert hers.ended_at is None


def test_signing_out_everywhere_ends_all_of_mine_and_none_of_yours(alice: User, bob: User) -> None:
    mine, other, yours = open_session(alice), open_session(alice), open_session(bob)

    assert signed_in(mine).delete(URL).status_code == 204

    assert Session.objects.filter(user=alice, ended_at__isnull=True).count() == 0
    assert signed_in(other).get("/api/v1/users/me").status_code == 401
    assert signed_in(yours).get("/api/v1/users/me").status_code == 200


def test_nobody_sees_or_ends_sessions(anonymous: APIClient, alice: User) -> None:
    session = open_session(alice)

    codes = [
        anonymous.get(URL).status_code,
        anonymous.delete(URL).status_code,
        anonymous.delete(f"{URL}/{session.pk}").status_code,
    ]

    assert codes == [401, 401, 401]
    session.refresh_from_db()
    assert session.ended_at is None


def test_an_unverified_person_manages_sessions_too(unverified: User) -> None:
    assert api(unverified).get(URL).status_code == 200


# --- Recently signed in -----------------------------------------------------------------------------------------------


def test_whoever_signed_in_a_moment_ago_is_let_through(alice: User) -> None:
    session = open_session(alice)
    Session.objects.filter(pk=session.pk).update(created_at=Now() - timedelta(minutes=9, seconds=30))

    sessions.require_fresh(session)


def test_an_old_session_asks_for_signing_in_again_however_often_it_was_refreshed(alice: User) -> None:
    session = open_session(alice)
    Session.objects.filter(pk=session.pk).update(created_at=Now() - sessions.FRESH)
    sessions.rotate(
        session_id=session.pk, user_id=alice.pk, epoch=0, rotation=0, expires_at=clock.now() + timedelta(hours=1)
    )

    with pytest.raises(ReauthenticationRequired):
        sessions.require_fresh(session)

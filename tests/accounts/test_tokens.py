"""What a bearer token must be, and what it costs to check."""

from __future__ import annotations

import base64
import datetime as dt
import json
import time
import uuid
from datetime import timedelta
from typing import Any

import jwt
import pytest
from django.conf import settings as conf
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoAssertNumQueries, Settings
from rest_framework.test import APIClient

from accounts import sessions
from accounts.api import tokens
from accounts.errors import TokenInvalid
from accounts.models import Session, User, UserStatus
from core import clock
from tests.people import api, open_session

pytestmark = pytest.mark.django_db

ME = "/api/v1/users/me"


def me(token: str, scheme: str = "Bearer") -> Any:
    return APIClient().get(ME, headers={"authorization": f"{scheme} {token}"})


def forge(session: Session, *, secret: str | None = None, algorithm: str = "HS256", **claims: Any) -> str:
    body: dict[str, Any] = {
        "typ": "access",
        "aud": "atelier",
        "sid": str(session.pk),
        "sub": str(session.user_id),
        "epo": 0,
        "rot": 0,
        "iat": int(time.time()),
        "exp": int(time.time()) + 600,
    } | claims
    return jwt.encode(
        {name: value for name, value in body.items() if value is not None},
        conf.JWT_SECRET if secret is None else secret,
        algorithm=algorithm,
    )


def test_our_own_forgery_is_accepted_so_that_the_refusals_below_mean_something(alice: User) -> None:
    assert me(forge(open_session(alice))).status_code == 200


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"typ": "refresh"}, "token_invalid"),
        ({"typ": None}, "token_invalid"),
        ({"aud": None}, "token_invalid"),
        ({"aud": "another program"}, "token_invalid"),
        ({"aud": ["atelier-2"]}, "token_invalid"),
        ({"exp": None}, "token_invalid"),
        ({"sid": None}, "token_invalid"),
        ({"sid": "1 OR 1=1"}, "token_invalid"),
        ({"sid": 7}, "token_invalid"),
        ({"sub": None}, "token_invalid"),
        ({"epo": "x"}, "token_invalid"),
        ({"epo": None}, "token_invalid"),
        ({"rot": [1]}, "token_invalid"),
        ({"exp": 1}, "token_expired"),
        ({"exp": "soon"}, "token_invalid"),
        ({"exp": 10**18}, "token_invalid"),
        ({"epo": 1}, "session_ended"),
        ({"sid": str(uuid.uuid4())}, "session_ended"),
        ({"sub": str(uuid.uuid4())}, "session_ended"),
        ({"algorithm": "HS512"}, "token_invalid"),
        ({"algorithm": "none", "secret": ""}, "token_invalid"),
        ({"secret": "guess" * 10}, "token_invalid"),
    ],
)
def test_a_token_that_is_not_quite_ours_is_401(alice: User, changes: dict[str, Any], code: str) -> None:
    answer = me(forge(open_session(alice), **changes))

    assert (answer.status_code, answer.json()["error"]) == (401, code)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_one_kind_of_token_is_never_the_other(alice: User) -> None:
    session = open_session(alice)
    pair = tokens.pair(session)

    assert me(pair["refresh"]).json()["error"] == "token_invalid"
    answer = api().post("/api/v1/auth/refresh", {"refresh": pair["access"]})
    assert (answer.status_code, answer.json()["error"]) == (401, "token_invalid")
    # Signed with the wrong secret but of the right type, and the other way round.
    assert me(forge(session, secret=conf.JWT_REFRESH_SECRET)).json()["error"] == "token_invalid"
    crossed = forge(session, secret=conf.JWT_SECRET, typ="refresh")
    assert api().post("/api/v1/auth/refresh", {"refresh": crossed}).json()["error"] == "token_invalid"


def test_one_kind_is_never_the_other_even_when_the_secrets_are_the_same_by_mistake(
    alice: User, settings: Settings
) -> None:
    settings.JWT_REFRESH_SECRET = settings.JWT_SECRET
    pair = tokens.pair(open_session(alice))

    assert me(pair["access"]).status_code == 200
    assert me(pair["refresh"]).json()["error"] == "token_invalid"
    crossed = api().post("/api/v1/auth/refresh", {"refresh": pair["access"]})
    assert (crossed.status_code, crossed.json()["error"]) == (401, "token_invalid")
    assert api().post("/api/v1/auth/refresh", {"refresh": pair["refresh"]}).status_code == 200


def test_the_algorithm_is_the_setting_and_not_the_header(alice: User, settings: Settings) -> None:
    token = tokens.pair(open_session(alice))["access"]
    settings.JWT_ALGORITHM = "HS512"

    assert me(token).json()["error"] == "token_invalid"
    fresh = tokens.pair(open_session(alice))["access"]
    assert json.loads(base64.urlsafe_b64decode(fresh.split(".")[0] + "=="))["alg"] == "HS512"
    assert me(fresh).status_code == 200


def test_a_changed_payload_breaks_the_signature(alice: User, bob: User) -> None:
    head, body, signature = tokens.pair(open_session(alice))["access"].split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    claims["sub"] = str(bob.pk)
    forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()

    assert me(f"{head}.{forged}.{signature}").json()["error"] == "token_invalid"


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer ", "Bearer a b", "Basic YTpi", "Token x", "Bearer x.y.z", "Bearer \u00e9", "x"]
)
def test_a_malformed_header_is_401(header: str) -> None:
    answer = APIClient().get(ME, HTTP_AUTHORIZATION=header)

    assert (answer.status_code, answer.json()["error"]) == (401, "token_invalid")


def test_no_header_is_401_with_a_challenge() -> None:
    answer = APIClient().get(ME)

    assert (answer.status_code, answer.json()["error"]) == (401, "not_authenticated")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="api"'


def test_the_scheme_is_case_blind(alice: User) -> None:
    assert me(tokens.pair(open_session(alice))["access"], scheme="bearer").status_code == 200


@pytest.mark.parametrize(
    ("status", "http", "code"),
    [
        (UserStatus.SUSPENDED, 403, "account_suspended"),
        (UserStatus.DELETING, 401, "session_ended"),
        (UserStatus.DELETED, 401, "session_ended"),
    ],
)
def test_a_change_of_standing_counts_from_the_next_request(alice: User, status: str, http: int, code: str) -> None:
    token = tokens.pair(open_session(alice))["access"]
    assert me(token).status_code == 200

    User.objects.filter(pk=alice.pk).update(status=status)

    answer = me(token)
    assert (answer.status_code, answer.json()["error"]) == (http, code)


def test_an_authenticated_request_costs_one_query(
    alice: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    client = api(alice)

    with django_assert_num_queries(1):
        assert client.get(ME).status_code == 200


def test_a_forged_token_costs_no_query(alice: User, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    session = open_session(alice)
    bad = [forge(session, secret="guess" * 10), forge(session, typ="refresh"), "rubbish"]

    with django_assert_num_queries(0):
        assert [me(token).status_code for token in bad] == [401, 401, 401]


class Clock(type):
    """A class that passes for `datetime`, and shows another time."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, dt.datetime)


@pytest.mark.parametrize("wrong_s", [3600, -3600])
def test_only_the_databases_clock_says_when_a_token_runs_out(
    alice: User, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: DjangoAssertNumQueries, wrong_s: int
) -> None:
    session = open_session(alice)
    good, over = tokens.pair(session), forge(session, exp=int(time.time()) - 1)
    wrong = dt.datetime.now(dt.UTC) + timedelta(seconds=wrong_s)
    monkeypatch.setattr(jwt.api_jwt, "datetime", Clock("datetime", (), {"now": staticmethod(lambda tz=None: wrong)}))

    with django_assert_num_queries(2):
        assert me(good["access"]).status_code == 200
        assert me(over).json()["error"] == "token_expired"
    answer = api().post("/api/v1/auth/refresh", {"refresh": good["refresh"]})
    assert me(answer.json()["access"]).status_code == 200
    old = jwt.decode(good["refresh"], options={"verify_signature": False, "verify_aud": False}) | {
        "exp": int(time.time()) - 1
    }
    spent = jwt.encode(old, conf.JWT_REFRESH_SECRET, algorithm="HS256")
    assert api().post("/api/v1/auth/refresh", {"refresh": spent}).json()["error"] == "token_expired"


@pytest.mark.django_db(transaction=True)  # as in a request: no transaction but the code's own
def test_last_seen_is_noted_at_most_once_a_minute(alice: User) -> None:
    session = open_session(alice)
    Session.objects.filter(pk=session.pk).update(last_seen_at=Now() - timedelta(minutes=5))
    token = tokens.pair(session)["access"]
    session.refresh_from_db()
    before = session.last_seen_at
    from django.db import connection

    with CaptureQueriesContext(connection) as queries:
        for _ in range(3):
            APIClient().get(ME, headers={"authorization": f"Bearer {token}"}, REMOTE_ADDR="192.0.2.77")

    assert len(queries) == 4
    session.refresh_from_db()
    assert session.last_seen_at > before + timedelta(minutes=4)
    assert session.ip == "192.0.2.77"


def test_the_actor_is_named_for_the_log(alice: User) -> None:
    from audit.models import AuditLog

    api(alice).patch(ME, {"first_name": "Al"})

    row = AuditLog.objects.get(action="user.updated")
    assert (row.actor_id, row.user_id, row.source) == (alice.pk, alice.pk, "API")


def test_a_wrong_pair_of_session_and_user_is_nobody(alice: User, bob: User) -> None:
    session = open_session(alice)

    with pytest.raises(sessions.SessionEnded):
        sessions.authenticate(session_id=session.pk, user_id=bob.pk, epoch=0, expires_at=clock.now())


def test_a_token_that_was_accepted_is_refused_once_it_has_run_out(alice: User) -> None:
    token = tokens.pair(open_session(alice))["access"]
    claims = tokens.read("access", token)
    named = {"session_id": claims.session_id, "user_id": claims.user_id, "epoch": claims.epoch}

    assert sessions.authenticate(**named, expires_at=claims.expires_at).user == alice
    with pytest.raises(sessions.TokenExpired):
        sessions.authenticate(**named, expires_at=clock.now() - timedelta(seconds=1))


def test_a_token_that_was_accepted_is_refused_under_another_secret(alice: User, settings: Settings) -> None:
    token = tokens.pair(open_session(alice))["access"]
    tokens.read("access", token)

    settings.JWT_SECRET = "x" * 64

    with pytest.raises(TokenInvalid):
        tokens.read("access", token)


def test_a_session_reads_the_same_by_the_short_way(alice: User) -> None:
    session = open_session(alice)
    Session.objects.filter(pk=session.pk).update(ip="203.0.113.7")

    found = sessions.authenticate(
        session_id=session.pk, user_id=alice.pk, epoch=alice.epoch, expires_at=clock.now() + timedelta(minutes=1)
    )

    expected = Session.objects.select_related("user").get(pk=session.pk)
    assert {f.attname: getattr(found, f.attname) for f in Session._meta.concrete_fields} == {
        f.attname: getattr(expected, f.attname) for f in Session._meta.concrete_fields
    }
    read = [f.attname for f in User._meta.concrete_fields if f.name != "password"]
    assert [getattr(found.user, name) for name in read] == [getattr(expected.user, name) for name in read]

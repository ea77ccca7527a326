from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from accounts import credentials, email_changes, resets
from accounts.api import tokens
from accounts.errors import PasswordWrong
from accounts.models import EmailChange, PasswordReset, Session, User, UserStatus
from audit.models import AuditLog
from notifications.models import Mail
from tests.accounts.test_sessions import signed_in
from tests.billing.racing import race
from tests.people import PASSWORD, api, make_user, open_session

pytestmark = pytest.mark.django_db

URL = "/api/v1/auth/change-password"
ME = "/api/v1/users/me"
NEW = "staple battery horse 4"
BODY = {"current_password": PASSWORD, "new_password": NEW}


def ask(token: str) -> Any:
    return APIClient(headers={"user-agent": "tests"}).get(ME, headers={"authorization": f"Bearer {token}"})


def refresh(token: str) -> Any:
    return api().post("/api/v1/auth/refresh", {"refresh": token})


def login(user: User, password: str) -> int:
    status: int = api().post("/api/v1/auth/login", {"email": user.email, "password": password}).status_code
    return status


def test_the_new_password_signs_in_and_the_old_one_does_not(alice: User) -> None:
    assert api(alice).post(URL, BODY).status_code == 200

    assert [login(alice, NEW), login(alice, PASSWORD)] == [200, 401]
    row = AuditLog.objects.get(action="user.password_changed")
    assert (row.user_id, row.actor_id, row.source, row.metadata) == (alice.pk, alice.pk, "API", {"how": "changed"})
    mail = Mail.objects.get(user=alice, name="password-changed")
    assert (mail.to, mail.context["device"]) == (alice.email, "tests")


def test_every_token_given_out_before_is_refused_at_once(alice: User) -> None:
    mine, other = open_session(alice), open_session(alice)
    mine_before, other_before = tokens.pair(mine), tokens.pair(other)
    assert [ask(pair["access"]).status_code for pair in (mine_before, other_before)] == [200, 200]

    answer = signed_in(mine).post(URL, BODY).json()

    for before in (mine_before, other_before):
        assert ask(before["access"]).json()["error"] == "session_ended"
        assert refresh(before["refresh"]).json()["error"] == "session_ended"
    assert set(answer) == {"user", "access", "refresh", "expires_in"}
    assert ask(answer["access"]).status_code == 200
    assert refresh(answer["refresh"]).status_code == 200
    mine.refresh_from_db()
    other.refresh_from_db()
    assert (mine.ended_at, other.end_reason) == (None, "password")


def test_another_persons_sessions_go_on(alice: User, bob: User) -> None:
    yours = tokens.pair(open_session(bob))["access"]

    api(alice).post(URL, BODY)

    assert ask(yours).status_code == 200


def test_a_wrong_current_password_changes_nothing(alice: User) -> None:
    other = tokens.pair(open_session(alice))["access"]
    before = User.objects.values().get(pk=alice.pk)

    answer = api(alice).post(URL, BODY | {"current_password": "not my password"})

    assert (answer.status_code, answer.json()["error"]) == (400, "password_wrong")
    after = User.objects.values().get(pk=alice.pk)
    assert {**after, "last_login": None} == {**before, "last_login": None}
    assert ask(other).status_code == 200
    assert not Mail.objects.filter(name="password-changed").exists()


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"new_password": "short"}, "new_password", "min_length"),
        ({"new_password": "x" * 129}, "new_password", "max_length"),
        ({"new_password": "Sunshine2024"}, "new_password", "password_too_common"),
        ({"new_password": "alice@example.com"}, "new_password", "password_too_similar"),
        ({"new_password": 1234567890}, "new_password", "invalid"),
        ({"current_password": ""}, "current_password", "blank"),
        ({"email": "x@example.com"}, "email", "unknown_field"),
    ],
)
def test_a_bad_body_is_400_and_changes_nothing(alice: User, changes: dict[str, Any], field: str, code: str) -> None:
    answer = api(alice).post(URL, BODY | changes)

    assert answer.status_code == 400
    assert {(item["field"], item["code"]) for item in answer.json()["details"]} == {(field, code)}
    assert login(alice, PASSWORD) == 200


def test_what_the_old_password_may_have_asked_for_is_withdrawn(alice: User) -> None:
    email_changes.ask(alice, password=PASSWORD, email="thief@example.com")
    resets.ask(email=alice.email)
    resets.mail_due()

    api(alice).post(URL, BODY)

    assert not EmailChange.objects.filter(used_at__isnull=True).exists()
    assert not PasswordReset.objects.filter(used_at__isnull=True).exists()
    withdrawn = AuditLog.objects.filter(action__endswith=".withdrawn").values_list("action", flat=True)
    assert sorted(withdrawn) == ["email_change.withdrawn", "password_reset.withdrawn"]


def test_it_needs_a_session_and_not_a_verified_mailbox(anonymous: APIClient, unverified: User) -> None:
    assert anonymous.post(URL, BODY).status_code == 401
    assert api(unverified).post(URL, BODY).status_code == 200


def test_guessing_the_current_password_is_limited_per_person(alice: User, bob: User, limited: None) -> None:
    client = api(alice)

    codes = [client.post(URL, BODY | {"current_password": f"guess {n}"}).status_code for n in range(4)]

    assert codes == [400, 400, 400, 429]
    assert client.post(URL, BODY).status_code == 429
    assert api(bob).post(URL, BODY).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_of_two_changes_at_once_one_wins() -> None:
    user = make_user("twice@example.com")
    attempts = [User.objects.get(pk=user.pk) for _ in range(2)]

    answers = race(
        *(
            partial(credentials.change_password, attempt, current=PASSWORD, new=f"{NEW} {number}")
            for number, attempt in enumerate(attempts)
        )
    )

    assert sorted(type(answer).__name__ for answer in answers) == ["PasswordWrong", "User"]
    won = next(number for number, answer in enumerate(answers) if isinstance(answer, User))
    assert [login(user, f"{NEW} {number}") for number in (won, 1 - won)] == [200, 401]
    user.refresh_from_db()
    assert user.epoch == 1
    assert Mail.objects.filter(name="password-changed").count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_sign_in_raced_by_the_change_is_dead_or_refused() -> None:
    for number in range(6):
        user = make_user(f"raced{number}@example.com")
        body = {"email": user.email, "password": PASSWORD}

        changed, entered = race(
            partial(credentials.change_password, User.objects.get(pk=user.pk), current=PASSWORD, new=NEW),
            lambda body=body: api().post("/api/v1/auth/login", body),
        )

        assert isinstance(changed, User)
        assert entered.status_code in (200, 401)
        if entered.status_code == 200:
            assert ask(entered.json()["access"]).json()["error"] == "session_ended"
        assert not Session.objects.filter(user=user, ended_at__isnull=True).exists()


def test_a_stale_confirmation_is_worth_nothing(alice: User) -> None:
    stale = User.objects.get(pk=alice.pk)
    assert stale.check_password(PASSWORD)
    credentials.change_password(alice, current=PASSWORD, new=NEW)

    with pytest.raises(PasswordWrong):
        credentials.change_password(User.objects.get(pk=alice.pk), current=PASSWORD, new="another one 77 x")


@pytest.mark.parametrize(
    ("act", "http", "code"),
    [
        (lambda user, session: signed_in(session).post("/api/v1/auth/logout"), 401, "session_ended"),
        (lambda user, session: signed_in(session).delete("/api/v1/users/me/sessions"), 401, "session_ended"),
        (
            lambda user, session: signed_in(session).delete(f"/api/v1/users/me/sessions/{session.pk}"),
            401,
            "session_ended",
        ),
        (lambda user, session: api(user).post(URL, BODY), 401, "session_ended"),
        (lambda user, session: _stand(user, UserStatus.SUSPENDED), 403, "account_suspended"),
        (lambda user, session: _stand(user, UserStatus.DELETING), 401, "session_ended"),
        (lambda user, session: _stand(user, UserStatus.DELETED), 401, "session_ended"),
    ],
    ids=["logout", "everywhere", "one by one", "password", "suspended", "deleting", "deleted"],
)
def test_a_token_in_hand_is_worthless_from_the_next_request(alice: User, act: Any, http: int, code: str) -> None:
    session = open_session(alice)
    pair = tokens.pair(session)
    assert ask(pair["access"]).status_code == 200

    act(alice, session)

    again = ask(pair["access"])
    assert (again.status_code, again.json()["error"]) == (http, code)
    assert refresh(pair["refresh"]).json()["error"] == code


def _stand(user: User, status: UserStatus) -> None:
    User.objects.filter(pk=user.pk).update(status=status)


# --- In the ops console -----------------------------------------------------------------------------------------------


def test_staff_change_theirs_in_the_console_by_the_same_rules(support: User) -> None:
    over_rest = tokens.pair(open_session(support))["access"]
    client, elsewhere = Client(), Client()
    client.force_login(support)
    elsewhere.force_login(support)
    body = {"old_password": PASSWORD, "new_password1": NEW, "new_password2": NEW}

    assert client.get("/admin/password_change/").status_code == 200
    weak = client.post(
        "/admin/password_change/", body | {"new_password1": "Sunshine2024", "new_password2": "Sunshine2024"}
    )
    wrong = client.post("/admin/password_change/", body | {"old_password": "not mine"})
    assert (weak.status_code, wrong.status_code) == (200, 200)
    support.refresh_from_db()
    assert support.epoch == 0
    done = client.post("/admin/password_change/", body)

    assert (done.status_code, done.headers["Location"]) == (302, "/admin/password_change/done/")
    assert client.get("/admin/").status_code == 200
    assert elsewhere.get("/admin/").status_code == 302
    assert ask(over_rest).json()["error"] == "session_ended"
    row = AuditLog.objects.get(action="user.password_changed")
    assert (row.user_id, row.source, row.metadata) == (support.pk, "ADMIN", {"how": "changed"})
    assert Mail.objects.filter(user=support, name="password-changed").count() == 1


def test_guessing_in_the_console_counts_with_guessing_over_rest(support: User, limited: None) -> None:
    client, page = Client(), "/admin/password_change/"
    client.force_login(support)
    guess = {"old_password": "a guess", "new_password1": NEW, "new_password2": NEW}

    assert client.get(page).status_code == 200
    for _ in range(2):
        assert "Too many" not in client.post(page, guess).content.decode()
    assert api(support).post(URL, {"current_password": "a guess", "new_password": NEW}).status_code == 400
    refused = client.post(page, guess | {"old_password": PASSWORD})

    assert "Too many requests" in refused.content.decode()
    support.refresh_from_db()
    assert (support.check_password(PASSWORD), support.epoch) == (True, 0)
    assert api(support).post(URL, {"current_password": PASSWORD, "new_password": NEW}).status_code == 429

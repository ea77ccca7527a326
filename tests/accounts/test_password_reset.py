from __future__ import annotations

import re
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import credentials, links, resets
from accounts.api import tokens
from accounts.errors import VerificationExpired, VerificationInvalid
from accounts.models import PasswordReset, Session, User, UserStatus
from audit.models import AuditDetail, AuditLog
from notifications.models import Mail
from notifications.rendering import HIDDEN, preview, render
from tests.accounts.authenticator import set_up
from tests.accounts.test_change_password import NEW, ask, login, refresh
from tests.billing.racing import race
from tests.people import PASSWORD, api, make_user, open_session

pytestmark = pytest.mark.django_db

FORGOT = "/api/v1/auth/forgot-password"
RESET = "/api/v1/auth/reset-password"


def mailed(user: User) -> str:
    """The token of a fresh mail, out of the mail itself."""
    PasswordReset.objects.filter(user=user).update(created_at=Now() - timedelta(minutes=2))
    resets.ask(email=user.email)
    resets.mail_due()
    mail = Mail.objects.filter(user=user, name="password-reset").latest("created_at")
    found = re.search(r"/reset-password/([\w-]{43})\n", render(mail).text)
    assert found
    return found[1]


def reset(token: str, password: str = NEW) -> Any:
    return api().post(RESET, {"token": token, "new_password": password})


# --- Asking -----------------------------------------------------------------------------------------------------------


def test_the_mailed_link_sets_a_new_password(alice: User, anonymous: APIClient) -> None:
    answer = anonymous.post(FORGOT, {"email": "ALICE@example.com"})
    assert (answer.status_code, answer.content) == (202, b"")
    assert not Mail.objects.filter(name="password-reset").exists()

    assert resets.mail_due() == 1

    mail = Mail.objects.get(name="password-reset")
    assert (mail.to, mail.user_id) == (alice.email, alice.pk)
    token = links.token_of(PasswordReset.objects.get().pk)
    assert f"/reset-password/{token}" in render(mail).html
    answer = reset(token)
    assert (answer.status_code, answer.content) == (204, b"")
    assert [login(alice, NEW), login(alice, PASSWORD)] == [200, 401]


STANDINGS = ["nobody", "verified", "unverified", "suspended", "deleting", "deleted", "asked a moment ago"]


def standing(name: str) -> str:
    """The address of somebody who stands so."""
    if name == "nobody":
        return "nobody@example.com"
    user = make_user("someone@example.com", verified=name != "unverified")
    if name == "asked a moment ago":
        mailed(user)
    if name in UserStatus.values:
        User.objects.filter(pk=user.pk).update(status=name)
    return user.email


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", STANDINGS)
def test_asking_runs_the_same_statements_and_answers_the_same_for_everybody(name: str) -> None:
    email = standing(name)
    client = api()

    with CaptureQueriesContext(connection) as queries:
        answer = client.post(FORGOT, {"email": email})

    assert (answer.status_code, answer.content) == (202, b"")
    shape = [re.sub(r"'[^']*'|\b[0-9a-f]{8,}\b|\d+", "?", query["sql"])[:60].split("(")[0] for query in queries]
    assert [line.split()[0] for line in shape] == ["BEGIN", "INSERT", "WITH", "COMMIT"]
    assert "accounts_user" not in "".join(query["sql"] for query in queries)
    assert set(answer.headers) - {"X-Request-ID"} == set(api().post(FORGOT, {"email": "x@example.com"}).headers) - {
        "X-Request-ID"
    }


@pytest.mark.parametrize(
    ("name", "mails"),
    [
        ("nobody", 0),
        ("verified", 1),
        ("unverified", 1),
        ("suspended", 0),
        ("deleting", 0),
        ("deleted", 0),
        ("asked a moment ago", 1),
    ],
)
def test_the_worker_writes_only_to_whoever_may_sign_in(name: str, mails: int) -> None:
    resets.ask(email=standing(name))

    assert resets.mail_due() == 1
    assert resets.mail_due() == 0

    assert Mail.objects.filter(name="password-reset").count() == mails
    assert PasswordReset.objects.filter(user__isnull=True).count() == 0
    assert PasswordReset.objects.count() == mails


def test_no_address_of_a_stranger_is_kept(db: None) -> None:
    resets.ask(email="stranger@example.net")
    resets.mail_due()

    with connection.cursor() as cursor:
        cursor.execute("SELECT to_jsonb(a)::text || to_jsonb(d)::text FROM audit_auditlog a, audit_auditdetail d")
        assert "stranger" not in " ".join(row[0] for row in cursor.fetchall())
    assert not PasswordReset.objects.exists()
    assert not AuditDetail.objects.filter(personal__icontains="stranger").exists()


def test_no_mailbox_gets_more_than_ten_a_day(alice: User) -> None:
    for _ in range(13):
        PasswordReset.objects.update(created_at=Now() - timedelta(minutes=2))
        resets.ask(email=alice.email)
        resets.mail_due()

    assert Mail.objects.filter(name="password-reset").count() == 10


@pytest.mark.parametrize(
    "body", [{}, {"email": ""}, {"email": "x"}, {"email": None}, {"email": "a@example.com", "username": "a"}]
)
def test_asking_badly_is_400_and_leaves_nothing(anonymous: APIClient, body: dict[str, Any]) -> None:
    assert anonymous.post(FORGOT, body).status_code == 400
    assert not PasswordReset.objects.exists()


def test_asking_and_resetting_are_limited_per_address(limited: None) -> None:
    client = APIClient(REMOTE_ADDR="198.51.100.60", headers={"user-agent": "tests"})
    other = APIClient(REMOTE_ADDR="198.51.100.61", headers={"user-agent": "tests"})

    asked = [client.post(FORGOT, {"email": "x@example.com"}).status_code for _ in range(6)]
    tried = [other.post(RESET, {"token": "x", "new_password": NEW}).status_code for _ in range(4)]

    assert asked == [202] * 5 + [429]
    assert tried == [400] * 3 + [429]


@pytest.mark.django_db(transaction=True)
def test_workers_at_once_mail_each_request_once() -> None:
    people = [make_user(f"many{number}@example.com") for number in range(6)]
    for user in people:
        resets.ask(email=user.email)

    race(*[resets.mail_due] * 4)

    assert Mail.objects.filter(name="password-reset").count() == 6
    assert PasswordReset.objects.filter(user__isnull=True).count() == 0


@pytest.mark.django_db(transaction=True)
def test_a_burst_of_requests_for_one_mailbox_is_one_mail() -> None:
    user = make_user("burst@example.com")
    for _ in range(8):
        resets.ask(email=user.email)

    race(*[resets.mail_due] * 4)

    assert Mail.objects.filter(name="password-reset").count() == 1


# --- Using the link ---------------------------------------------------------------------------------------------------


def test_every_session_ends_at_once(alice: User) -> None:
    pairs = [tokens.pair(open_session(alice)) for _ in range(2)]
    token = mailed(alice)

    reset(token)

    for pair in pairs:
        assert ask(pair["access"]).json()["error"] == "session_ended"
        assert refresh(pair["refresh"]).json()["error"] == "session_ended"
    assert set(Session.objects.filter(user=alice).values_list("end_reason", flat=True)) == {"password"}
    row = AuditLog.objects.get(action="user.password_changed")
    assert (row.metadata, row.actor_id, row.source) == ({"how": "reset"}, alice.pk, "API")
    assert Mail.objects.filter(user=alice, name="password-changed").count() == 1


def test_a_link_works_once(alice: User) -> None:
    token = mailed(alice)
    reset(token)

    again = reset(token, "yet another one 77")

    assert (again.status_code, again.json()["error"]) == (400, "verification_invalid")
    assert login(alice, NEW) == 200


def test_only_the_newest_link_works(alice: User) -> None:
    older, newer = mailed(alice), mailed(alice)

    assert reset(older).json()["error"] == "verification_invalid"
    assert login(alice, PASSWORD) == 200
    assert reset(newer).status_code == 204


def test_a_link_runs_out_after_half_an_hour(alice: User) -> None:
    token = mailed(alice)
    link = PasswordReset.objects.get(used_at__isnull=True)
    assert link.expires_at - link.created_at < timedelta(minutes=31)
    PasswordReset.objects.filter(pk=link.pk).update(expires_at=Now())

    answer = reset(token)

    assert (answer.status_code, answer.json()["error"]) == (400, "verification_expired")
    assert login(alice, PASSWORD) == 200


def test_the_half_hour_begins_when_the_mail_leaves_the_queue(alice: User) -> None:
    resets.ask(email=alice.email)
    PasswordReset.objects.update(expires_at=Now() - timedelta(hours=1))

    resets.mail_due()

    assert links.look(PasswordReset, links.token_of(PasswordReset.objects.get().pk))[0] == "ready"


def test_a_weak_password_uses_nothing_up(alice: User) -> None:
    token = mailed(alice)

    weak = reset(token, "Sunshine2024")

    assert [(item["field"], item["code"]) for item in weak.json()["details"]] == [
        ("new_password", "password_too_common")
    ]
    assert reset(token).status_code == 204


@pytest.mark.parametrize("status", [UserStatus.SUSPENDED, UserStatus.DELETING, UserStatus.DELETED])
def test_whoever_was_put_out_meanwhile_does_not_get_in(alice: User, status: str) -> None:
    token = mailed(alice)
    User.objects.filter(pk=alice.pk).update(status=status)

    assert reset(token).json()["error"] == "verification_invalid"

    User.objects.filter(pk=alice.pk).update(status=UserStatus.ACTIVE)
    assert login(alice, NEW) == 401


def test_a_link_to_a_former_address_is_worth_nothing(alice: User) -> None:
    token = mailed(alice)
    User.objects.filter(pk=alice.pk).update(email="other@example.com")

    with pytest.raises(VerificationInvalid):
        credentials.reset_password(token=token, new=NEW)


def test_a_request_that_no_mail_left_for_opens_nothing(alice: User) -> None:
    resets.ask(email=alice.email)

    assert reset(links.token_of(PasswordReset.objects.get().pk)).json()["error"] == "verification_invalid"


def test_resetting_verifies_nobody_and_ends_no_other_link(unverified: User) -> None:
    reset(mailed(unverified))

    unverified.refresh_from_db()
    assert not unverified.is_verified
    assert unverified.email_verifications.filter(used_at__isnull=True).count() == 1


def test_one_kind_of_link_is_never_another(alice: User, unverified: User) -> None:
    verify = links.token_of(unverified.email_verifications.get().pk)
    token = mailed(alice)

    assert reset(verify).status_code == 400
    assert api().post("/api/v1/auth/verify-email", {"token": token}).status_code == 400
    assert api().post("/api/v1/auth/confirm-email", {"token": token}).status_code == 400
    assert reset(token).status_code == 204


def test_only_a_hash_is_stored_and_staff_see_no_link(alice: User) -> None:
    token = mailed(alice)
    mail = Mail.objects.get(name="password-reset")

    assert token not in f"{PasswordReset.objects.values().get()} {Mail.objects.values().get(pk=mail.pk)}"
    assert token not in preview(mail).html
    assert HIDDEN in preview(mail).html


@pytest.mark.django_db(transaction=True)
def test_of_resets_at_once_one_wins() -> None:
    user = make_user("resets@example.com")
    token = mailed(user)

    answers = race(*(partial(credentials.reset_password, token=token, new=f"{NEW} {n}") for n in range(4)))

    assert sorted(type(answer).__name__ for answer in answers) == ["User"] + ["VerificationInvalid"] * 3
    user.refresh_from_db()
    assert user.epoch == 1
    assert Mail.objects.filter(name="password-changed").count() == 1


# --- The page ---------------------------------------------------------------------------------------------------------


def test_looking_at_the_page_uses_nothing_up_and_shows_a_form(alice: User) -> None:
    token = mailed(alice)
    scanner = Client()

    for _ in range(3):
        page = scanner.get(f"/reset-password/{token}")
        scanner.head(f"/reset-password/{token}")

    text = page.content.decode()
    assert page.status_code == 200
    assert 'name="new_password"' in text
    assert 'autocomplete="new-password"' in text
    assert "script" not in text
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert "no-store" in page.headers["Cache-Control"]
    assert PasswordReset.objects.get().used_at is None


def press(token: str, new: str = NEW, again: str | None = None, **how: Any) -> Any:
    body = {"new_password": new, "again": new if again is None else again}
    return Client(enforce_csrf_checks=True).post(f"/reset-password/{token}", body, **how)


def test_the_page_sets_the_password_without_cookies(alice: User) -> None:
    token = mailed(alice)

    done = press(token)

    assert done.status_code == 200
    assert "Your password is changed" in done.content.decode()
    assert login(alice, NEW) == 200
    assert press(token).status_code == 400
    assert "does not work" in Client().get(f"/reset-password/{token}").content.decode()


@pytest.mark.parametrize(
    ("new", "again", "sentence"),
    [
        ("short", "short", "Use at least 8 characters."),
        ("Sunshine2024", "Sunshine2024", "lists of leaked ones"),
        (NEW, f"{NEW}!", "The two entries differ."),
        ("kW7#pqz " * 17, "kW7#pqz " * 17, "Use at most 128 characters."),
        ("", "", "Use at least 8 characters."),
    ],
)
def test_the_page_says_what_is_wrong_with_a_password_and_asks_again(
    alice: User, new: str, again: str, sentence: str
) -> None:
    token = mailed(alice)

    page = press(token, new, again)

    text = page.content.decode()
    assert page.status_code == 400
    assert sentence in text
    assert 'name="new_password"' in text
    assert not new or new not in text
    assert login(alice, PASSWORD) == 200


def test_the_page_says_what_is_wrong_with_a_link(alice: User) -> None:
    token = mailed(alice)
    assert "does not work" in Client().get("/reset-password/rubbish").content.decode()
    assert press("rubbish").status_code == 400
    PasswordReset.objects.update(expires_at=Now())

    assert "run out" in Client().get(f"/reset-password/{token}").content.decode()
    assert "run out" in press(token).content.decode()


def test_the_page_is_limited_as_the_api_is(alice: User, limited: None) -> None:
    token = mailed(alice)

    codes = [press(token, "short", REMOTE_ADDR="198.51.100.77").status_code for _ in range(4)]
    api_too = APIClient(REMOTE_ADDR="198.51.100.77", headers={"user-agent": "tests"})

    assert codes == [400, 400, 400, 429]
    assert api_too.post(RESET, {"token": token, "new_password": NEW}).status_code == 429
    assert press(token, REMOTE_ADDR="198.51.100.78").status_code == 200


def test_an_expired_link_costs_no_hash(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    token = mailed(alice)
    PasswordReset.objects.update(expires_at=Now())
    monkeypatch.setattr("accounts.credentials.make_password", lambda *_: pytest.fail("hashed for nothing"))

    with pytest.raises(VerificationExpired):
        credentials.reset_password(token=token, new=NEW)
    with pytest.raises(VerificationInvalid):
        credentials.reset_password(token="rubbish", new=NEW)


def test_a_reset_keeps_the_second_factor(support: User, settings: Settings) -> None:
    settings.MFA_REQUIRED = True
    set_up(support)

    reset(mailed(support))

    answer = api().post("/api/v1/auth/login", {"email": support.email, "password": NEW})
    assert (answer.status_code, answer.json()["error"]) == (401, "otp_required")

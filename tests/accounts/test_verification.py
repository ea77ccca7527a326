from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import links, users, verification
from accounts.errors import VerificationInvalid
from accounts.models import EmailVerification, User, UserStatus
from audit.models import AuditLog
from notifications.models import Mail
from notifications.rendering import render
from tests.people import api, make_user, verification_token

pytestmark = pytest.mark.django_db

URL = "/api/v1/auth/verify-email"
RESEND = "/api/v1/auth/resend-verification"

granted: list[User] = []


def grant(*, user: User) -> None:
    granted.append(user)


def fail(*, user: User) -> None:
    raise RuntimeError("no grant today")


@pytest.fixture(autouse=True)
def grants(settings: Settings) -> None:
    granted.clear()
    settings.EMAIL_VERIFIED = [f"{__name__}.grant"]


def test_the_mailed_link_carries_the_token_that_verifies(unverified: User, anonymous: APIClient) -> None:
    mail = Mail.objects.get(user=unverified, name="verify-email")
    link = next(line for line in render(mail).text.splitlines() if "/verify-email/" in line)

    answer = anonymous.post(URL, {"token": link.rsplit("/", 1)[1]})

    assert answer.status_code == 200
    assert answer.json()["user"]["is_verified"] is True
    unverified.refresh_from_db()
    assert unverified.is_verified
    assert granted == [unverified]
    welcome = Mail.objects.get(user=unverified, name="welcome")
    assert welcome.cause == f"welcome:{unverified.pk}"
    assert AuditLog.objects.filter(action="user.verified", user_id=unverified.pk).count() == 1


def test_the_link_points_to_the_client_app_when_there_is_one(unverified: User, settings: Settings) -> None:
    mail = Mail.objects.get(user=unverified)
    settings.PUBLIC_URL, settings.FRONTEND_URL = "https://api.example.com", ""
    assert "https://api.example.com/verify-email/" in render(mail).html

    settings.FRONTEND_URL = "https://app.example.com"

    assert "https://app.example.com/verify-email/" in render(mail).html


def test_a_link_works_once(unverified: User, anonymous: APIClient) -> None:
    token = verification_token(unverified)
    anonymous.post(URL, {"token": token})

    again = anonymous.post(URL, {"token": token})

    assert (again.status_code, again.json()["error"]) == (400, "verification_invalid")
    assert granted == [unverified]
    assert Mail.objects.filter(name="welcome").count() == 1


def test_every_other_link_ends_with_the_first(unverified: User, anonymous: APIClient) -> None:
    older = verification_token(unverified)
    newer = links.token_of(verification.issue(unverified).pk)

    anonymous.post(URL, {"token": older})

    assert anonymous.post(URL, {"token": newer}).status_code == 400
    assert not EmailVerification.objects.filter(used_at__isnull=True).exists()
    assert granted == [unverified]


def test_a_link_runs_out_after_a_day(unverified: User, anonymous: APIClient) -> None:
    link = EmailVerification.objects.get(user=unverified)
    assert link.expires_at - link.created_at == timedelta(hours=24)
    EmailVerification.objects.filter(pk=link.pk).update(expires_at=Now())

    answer = anonymous.post(URL, {"token": links.token_of(link.pk)})

    assert (answer.status_code, answer.json()["error"]) == (400, "verification_expired")
    unverified.refresh_from_db()
    assert not unverified.is_verified
    assert granted == []


def test_a_link_for_a_former_address_proves_nothing(unverified: User) -> None:
    token = verification_token(unverified)
    User.objects.filter(pk=unverified.pk).update(email="other@example.com")

    with pytest.raises(VerificationInvalid):
        users.verify_email(token=token)


def test_a_suspended_person_is_not_verified(unverified: User) -> None:
    User.objects.filter(pk=unverified.pk).update(status=UserStatus.SUSPENDED)

    with pytest.raises(VerificationInvalid):
        users.verify_email(token=verification_token(unverified))


@pytest.mark.parametrize(
    "body", [{}, {"token": ""}, {"token": "x"}, {"token": "x" * 201}, {"token": None}, {"token": "a\x00"}, {"t": 1}]
)
def test_a_bad_token_is_400(unverified: User, anonymous: APIClient, body: dict[str, Any]) -> None:
    assert anonymous.post(URL, body).status_code == 400
    unverified.refresh_from_db()
    assert not unverified.is_verified


def test_only_a_hash_of_the_token_is_stored_and_it_outlives_a_new_secret(unverified: User, settings: Settings) -> None:
    token = verification_token(unverified)
    assert EmailVerification.objects.get().token_hash == links.hash_of(token)
    assert token not in str(EmailVerification.objects.values().get())

    settings.SECRET_KEY = "another secret key, as long as the first one was " * 2

    assert users.verify_email(token=token) == unverified


def test_what_verification_gives_comes_with_it_or_not_at_all(unverified: User, settings: Settings) -> None:
    settings.EMAIL_VERIFIED = [f"{__name__}.fail"]

    with pytest.raises(RuntimeError, match="no grant today"):
        users.verify_email(token=verification_token(unverified))

    unverified.refresh_from_db()
    assert not unverified.is_verified
    assert not Mail.objects.filter(name="welcome").exists()
    assert EmailVerification.objects.filter(used_at__isnull=True).count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_clicks_at_once_one_verifies() -> None:
    user = make_user("clicks@example.com", verified=False)
    token = verification_token(user)
    outcomes: list[str] = []

    def click() -> None:
        try:
            users.verify_email(token=token)
            outcomes.append("verified")
        except VerificationInvalid:
            outcomes.append("invalid")
        finally:
            connection.close()

    threads = [threading.Thread(target=click) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["invalid"] * 7 + ["verified"]
    assert granted == [user]
    assert Mail.objects.filter(user=user, name="welcome").count() == 1


@pytest.mark.django_db(transaction=True)
def test_different_links_at_once_do_not_wait_for_each_other() -> None:
    for number in range(10):
        user = make_user(f"links{number}@example.com", verified=False)
        tokens = [verification_token(user)]
        for _ in range(3):
            verification.issue(user)
            tokens.append(verification_token(user))
        outcomes: list[str] = []
        gate = threading.Barrier(len(tokens))

        def click(token: str, outcomes: list[str] = outcomes, gate: threading.Barrier = gate) -> None:
            try:
                gate.wait(60)
                users.verify_email(token=token)
                outcomes.append("verified")
            except Exception as error:
                outcomes.append(type(error).__name__)
            finally:
                connection.close()

        threads = [threading.Thread(target=click, args=(token,)) for token in tokens]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(outcomes) == ["VerificationInvalid"] * 3 + ["verified"]


# --- The page ---------------------------------------------------------------------------------------------------------


def test_looking_at_the_page_uses_nothing_up(unverified: User) -> None:
    token = verification_token(unverified)
    scanner = Client()

    for _ in range(3):
        page = scanner.get(f"/verify-email/{token}")
        scanner.head(f"/verify-email/{token}")
        scanner.options(f"/verify-email/{token}")

    assert page.status_code == 200
    assert '<form method="post">' in page.content.decode()
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert "no-store" in page.headers["Cache-Control"]
    assert "script" not in page.content.decode()
    unverified.refresh_from_db()
    assert not unverified.is_verified
    assert EmailVerification.objects.get().used_at is None


def test_the_button_verifies_without_cookies(unverified: User) -> None:
    token = verification_token(unverified)

    page = Client(enforce_csrf_checks=True).post(f"/verify-email/{token}")

    assert page.status_code == 200
    assert "confirmed" in page.content.decode()
    unverified.refresh_from_db()
    assert unverified.is_verified
    assert granted == [unverified]
    looked = Client().get(f"/verify-email/{token}")
    assert "Your address is confirmed" in looked.content.decode()
    assert Client().post(f"/verify-email/{token}").status_code == 400


def test_the_page_says_what_is_wrong_with_a_link(unverified: User) -> None:
    token = verification_token(unverified)
    assert "does not work" in Client().get("/verify-email/rubbish").content.decode()
    EmailVerification.objects.update(expires_at=Now())

    assert "run out" in Client().get(f"/verify-email/{token}").content.decode()
    pressed = Client().post(f"/verify-email/{token}")
    assert pressed.status_code == 400
    assert "run out" in pressed.content.decode()


# --- Sending it again -------------------------------------------------------------------------------------------------


def quiet_minutes() -> None:
    EmailVerification.objects.update(created_at=Now() - timedelta(minutes=2))


def test_resending_mails_another_link(unverified: User) -> None:
    quiet_minutes()

    answer = api(unverified).post(RESEND)

    assert (answer.status_code, answer.content) == (202, b"")
    assert Mail.objects.filter(user=unverified, name="verify-email").count() == 2
    assert EmailVerification.objects.filter(user=unverified).count() == 2


def test_resending_answers_the_same_when_no_mail_is_due(unverified: User, alice: User) -> None:
    soon = api(unverified).post(RESEND)
    done = api(alice).post(RESEND)

    assert [(answer.status_code, answer.content) for answer in (soon, done)] == [(202, b""), (202, b"")]
    assert Mail.objects.filter(user=unverified).count() == 1
    assert Mail.objects.filter(user=alice, name="verify-email").count() == 1


def test_no_mailbox_gets_more_than_eleven_links_a_day(unverified: User) -> None:
    for _ in range(15):
        quiet_minutes()
        verification.resend(unverified)

    assert Mail.objects.filter(user=unverified).count() == 11


@pytest.mark.django_db(transaction=True)
def test_a_burst_of_resends_is_one_mail() -> None:
    user = make_user("burst@example.com", verified=False)
    EmailVerification.objects.filter(user=user).update(created_at=Now() - timedelta(minutes=2))

    def resend() -> None:
        try:
            verification.resend(user)
        finally:
            connection.close()

    threads = [threading.Thread(target=resend) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert EmailVerification.objects.filter(user=user).count() == 2


def test_resending_needs_a_session_and_takes_no_body(anonymous: APIClient, unverified: User) -> None:
    assert anonymous.post(RESEND).status_code == 401
    assert api(unverified).post(RESEND, {"email": "other@example.com"}).status_code == 400


def test_resending_is_limited(unverified: User, limited: None) -> None:
    client = api(unverified)

    codes = [client.post(RESEND, REMOTE_ADDR="198.51.100.40").status_code for _ in range(6)]

    assert codes == [202] * 5 + [429]

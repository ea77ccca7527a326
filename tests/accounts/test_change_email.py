from __future__ import annotations

import re
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db.models.functions import Now
from django.test import Client
from rest_framework.test import APIClient

from accounts import email_changes, links, resets, users, verification
from accounts.errors import VerificationInvalid
from accounts.models import EmailChange, User, UserStatus
from audit.models import AuditDetail, AuditLog
from billing import ledger
from billing.models import SignUpGrant
from notifications.models import Mail
from notifications.rendering import render
from tests import books
from tests.accounts.test_change_password import login
from tests.billing.racing import race
from tests.people import PASSWORD, api, make_user, verification_token

pytestmark = pytest.mark.django_db

URL = "/api/v1/auth/change-email"
CONFIRM = "/api/v1/auth/confirm-email"
NEW = "alice@new.example.com"
BODY = {"password": PASSWORD, "email": NEW}


def mailed(user: User, email: str = NEW) -> str:
    """The token of a fresh mail, out of the mail itself."""
    email_changes.ask(user, password=PASSWORD, email=email)
    mail = Mail.objects.filter(user=user, name="confirm-email").latest("created_at")
    assert mail.to == links_email(user)
    found = re.search(r"/confirm-email/([\w-]{43})\n", render(mail).text)
    assert found
    return found[1]


def links_email(user: User) -> str:
    return EmailChange.objects.filter(user=user).latest("created_at").email


def confirm(token: str) -> Any:
    return api().post(CONFIRM, {"token": token})


def test_nothing_changes_until_the_new_mailbox_proves_itself(alice: User) -> None:
    answer = api(alice).post(URL, BODY | {"email": "Alice@NEW.example.com"})

    assert (answer.status_code, answer.content) == (202, b"")
    alice.refresh_from_db()
    assert alice.email == "alice@example.com"
    assert Mail.objects.get(name="confirm-email").to == NEW
    assert not Mail.objects.filter(name="email-changed").exists()
    assert [login(alice, PASSWORD), api().post(CONFIRM, {"token": "x"}).status_code] == [200, 400]


def test_the_mailed_link_changes_the_address_and_the_old_one_is_told(alice: User) -> None:
    token = mailed(alice)
    before = alice.verified_at

    answer = confirm(token)

    assert answer.status_code == 200
    assert (answer.json()["user"]["email"], answer.json()["user"]["is_verified"]) == (NEW, True)
    alice.refresh_from_db()
    assert before is not None
    assert alice.verified_at is not None
    assert alice.verified_at > before
    told = Mail.objects.get(name="email-changed")
    assert (told.to, told.user_id) == ("alice@example.com", alice.pk)
    assert NEW not in render(told).text + render(told).html
    assert login(alice, PASSWORD) == 200
    row = AuditLog.objects.get(action="user.email_changed")
    assert NEW not in f"{row.old} {row.new} {row.metadata}"
    assert AuditDetail.objects.get(log=row).personal == {
        "old": {"email": "alice@example.com"},
        "new": {"email": NEW},
    }


def test_sessions_go_on(alice: User) -> None:
    client = api(alice)

    confirm(mailed(alice))

    assert client.get("/api/v1/users/me").json()["email"] == NEW


@pytest.mark.parametrize(
    ("changes", "code", "detail"),
    [
        ({"password": "not my password"}, "password_wrong", None),
        ({"password": ""}, "invalid", ("password", "blank")),
        ({"email": "alice@example.com"}, "invalid", ("email", "unchanged")),
        ({"email": "ALICE@Example.com"}, "invalid", ("email", "unchanged")),
        ({"email": "nonsense"}, "invalid", ("email", "invalid")),
        ({"email": f"{'a' * 250}@example.com"}, "invalid", ("email", "max_length")),
        ({"verified": True}, "invalid", ("verified", "unknown_field")),
    ],
)
def test_a_bad_body_is_400_and_mails_nobody(alice: User, changes: dict[str, Any], code: str, detail: Any) -> None:
    answer = api(alice).post(URL, BODY | changes)

    assert (answer.status_code, answer.json()["error"]) == (400, code)
    assert [(item["field"], item["code"]) for item in answer.json()["details"]] == ([detail] if detail else [])
    assert not EmailChange.objects.exists()
    assert not Mail.objects.filter(name="confirm-email").exists()


def test_a_taken_address_is_409(alice: User, bob: User) -> None:
    answer = api(alice).post(URL, BODY | {"email": "BOB@example.com"})

    assert (answer.status_code, answer.json()["error"]) == (409, "email_taken")
    assert not EmailChange.objects.exists()


def test_it_needs_a_session_and_is_limited(anonymous: APIClient, alice: User, limited: None) -> None:
    assert anonymous.post(URL, BODY).status_code == 401
    client = api(alice)

    codes = [client.post(URL, BODY | {"password": f"guess {n}"}).status_code for n in range(4)]

    assert codes == [400, 400, 400, 429]


def test_a_link_works_once_and_only_the_newest(alice: User) -> None:
    first, second = mailed(alice, "one@example.com"), mailed(alice, "two@example.com")

    assert confirm(first).json()["error"] == "verification_invalid"
    assert confirm(second).status_code == 200
    assert confirm(second).json()["error"] == "verification_invalid"

    alice.refresh_from_db()
    assert alice.email == "two@example.com"
    assert Mail.objects.filter(name="email-changed").count() == 1


def test_a_link_runs_out_after_a_day(alice: User) -> None:
    token = mailed(alice)
    link = EmailChange.objects.get()
    assert link.expires_at - link.created_at == timedelta(hours=24)
    EmailChange.objects.update(expires_at=Now())

    assert confirm(token).json()["error"] == "verification_expired"
    alice.refresh_from_db()
    assert alice.email == "alice@example.com"


@pytest.mark.parametrize("status", [UserStatus.SUSPENDED, UserStatus.DELETING, UserStatus.DELETED])
def test_whoever_was_put_out_meanwhile_keeps_the_old_address(alice: User, status: str) -> None:
    token = mailed(alice)
    User.objects.filter(pk=alice.pk).update(status=status)

    assert confirm(token).json()["error"] == "verification_invalid"
    alice.refresh_from_db()
    assert alice.email == "alice@example.com"


def test_links_that_prove_the_old_mailbox_stop_working(unverified: User) -> None:
    verify = verification_token(unverified)
    resets.ask(email=unverified.email)
    resets.mail_due()
    reset = links.token_of(unverified.password_resets.get().pk)

    confirm(mailed(unverified))

    assert api().post("/api/v1/auth/verify-email", {"token": verify}).status_code == 400
    assert (
        api().post("/api/v1/auth/reset-password", {"token": reset, "new_password": "quite new 77 x"}).status_code == 400
    )


# --- The sign-up grant ------------------------------------------------------------------------------------------------


def credits(user: User) -> int:
    return ledger.balance(user.pk).balance


def test_whoever_never_verified_gets_the_grant_with_the_new_mailbox_once(unverified: User) -> None:
    confirm(mailed(unverified))

    assert credits(unverified) == 5
    assert Mail.objects.filter(user=unverified, name="welcome").count() == 1

    unverified.refresh_from_db()
    confirm(mailed(unverified, "third@example.com"))

    assert credits(unverified) == 5
    assert SignUpGrant.objects.filter(user=unverified).count() == 1
    books.check()


def test_a_verified_person_gets_no_second_grant(alice: User) -> None:
    assert credits(alice) == 5

    confirm(mailed(alice))

    assert credits(alice) == 5
    assert Mail.objects.filter(user=alice, name="welcome").count() == 1
    books.check()


def test_a_mailbox_left_behind_has_had_its_grant(alice: User) -> None:
    confirm(mailed(alice))

    again = make_user("alice@example.com")

    assert credits(again) == 0
    assert SignUpGrant.objects.get(user=again).outcome == SignUpGrant.Outcome.MAILBOX_USED
    books.check()


def test_moving_on_to_a_mailbox_that_has_had_it_gives_nothing(alice: User, unverified: User) -> None:
    confirm(mailed(alice))

    confirm(mailed(unverified, "alice@example.com"))

    assert credits(unverified) == 0
    books.check()


# --- Two who want one address -----------------------------------------------------------------------------------------


def test_whoever_registers_the_address_first_has_it(alice: User) -> None:
    token = mailed(alice)
    users.register(email=NEW, password=PASSWORD)

    answer = confirm(token)

    assert (answer.status_code, answer.json()["error"]) == (409, "email_taken")
    alice.refresh_from_db()
    assert alice.email == "alice@example.com"
    assert not Mail.objects.filter(name="email-changed").exists()
    assert EmailChange.objects.get().used_at is None


@pytest.mark.django_db(transaction=True)
def test_of_many_who_want_one_address_one_gets_it() -> None:
    people = [make_user(f"want{number}@example.com") for number in range(5)]
    wishes = [mailed(user, "wanted@example.com") for user in people]

    answers = race(
        *(partial(email_changes.confirm, token=token) for token in wishes),
        partial(users.register, email="wanted@example.com", password=PASSWORD),
    )

    assert sorted(type(answer).__name__ for answer in answers) == ["EmailTaken"] * 5 + ["User"]
    assert User.objects.filter(email="wanted@example.com").count() == 1
    assert Mail.objects.filter(name="email-changed").count() == sum(isinstance(a, User) for a in answers[:5])
    books.check()


@pytest.mark.django_db(transaction=True)
def test_of_clicks_at_once_one_changes() -> None:
    user = make_user("clicks@example.com")
    token = mailed(user)

    answers = race(*[partial(email_changes.confirm, token=token)] * 5)

    assert sorted(type(answer).__name__ for answer in answers) == ["User"] + ["VerificationInvalid"] * 4
    assert Mail.objects.filter(name="email-changed").count() == 1


@pytest.mark.django_db(transaction=True)
def test_confirming_both_ways_at_once_verifies_one_mailbox() -> None:
    for number in range(5):
        user = make_user(f"both{number}@example.com", verified=False)
        verify, change = verification_token(user), mailed(user, f"other{number}@example.com")

        answers = race(partial(users.verify_email, token=verify), partial(email_changes.confirm, token=change))

        assert isinstance(answers[1], User)
        assert isinstance(answers[0], User | VerificationInvalid)
        user.refresh_from_db()
        assert (user.email, user.is_verified, credits(user)) == (f"other{number}@example.com", True, 5)
    books.check()


# --- The page ---------------------------------------------------------------------------------------------------------


def test_looking_at_the_page_changes_nothing_and_names_the_address(alice: User) -> None:
    token = mailed(alice)

    for _ in range(2):
        page = Client().get(f"/confirm-email/{token}")
        Client().head(f"/confirm-email/{token}")

    assert page.status_code == 200
    assert NEW in page.content.decode()
    assert '<form method="post">' in page.content.decode()
    assert page.headers["Referrer-Policy"] == "no-referrer"
    alice.refresh_from_db()
    assert alice.email == "alice@example.com"


def test_the_button_changes_the_address_without_cookies(alice: User) -> None:
    token = mailed(alice)

    page = Client(enforce_csrf_checks=True).post(f"/confirm-email/{token}")

    assert "Your address is changed" in page.content.decode()
    alice.refresh_from_db()
    assert alice.email == NEW
    assert "Your address is changed" in Client().get(f"/confirm-email/{token}").content.decode()
    assert Client().post(f"/confirm-email/{token}").status_code == 400


def test_the_page_says_what_is_wrong(alice: User) -> None:
    token = mailed(alice)
    assert "does not work" in Client().get("/confirm-email/rubbish").content.decode()
    users.register(email=NEW, password=PASSWORD)

    taken = Client().post(f"/confirm-email/{token}")

    assert taken.status_code == 409
    assert "address is taken" in taken.content.decode()
    EmailChange.objects.update(expires_at=Now())
    assert "run out" in Client().get(f"/confirm-email/{token}").content.decode()


def test_verifying_again_is_no_second_grant(alice: User) -> None:
    with pytest.raises(VerificationInvalid):
        users.verify_email(token=verification_token(alice))
    fresh = verification.issue(alice)

    users.verify_email(token=links.token_of(fresh.pk))

    assert credits(alice) == 5
    books.check()

"""People in the ops console."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import Session, User
from accounts.tasks import purge
from audit.models import AuditDetail, AuditLog
from notifications.models import Mail
from tests.people import PASSWORD, api, make_staff, make_user, open_session, verification_token

pytestmark = pytest.mark.django_db


@pytest.fixture
def boss() -> User:
    return User.objects.create_superuser("Boss@Example.test", PASSWORD)


def console(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def grant_view(user: User) -> None:
    from django.contrib.auth.models import Permission

    user.user_permissions.set(Permission.objects.filter(content_type__app_label="accounts"))


def test_createsuperuser_makes_somebody_who_can_enter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", PASSWORD)

    call_command("createsuperuser", interactive=False, email="Root@Example.test")

    user = User.objects.get(email="root@example.test")
    assert (user.is_staff, user.is_superuser, user.is_verified) == (True, True, True)
    client = Client()
    answer = client.post("/admin/login/", {"username": "ROOT@example.test", "password": PASSWORD, "next": "/admin/"})
    assert answer.status_code == 302
    assert client.get("/admin/").status_code == 200
    row = AuditLog.objects.get(action="user.staff_created")
    assert (row.entity_id, row.actor_id, row.source) == (str(user.pk), None, "SYSTEM")
    assert row.new == {"is_superuser": True}
    assert AuditDetail.objects.get(log=row).personal == {"email": user.email}


def type_password(monkeypatch: pytest.MonkeyPatch, *typed: str) -> None:
    answers = iter(typed)
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(answers))


def test_changepassword_is_on_record_told_and_ends_every_session(monkeypatch: pytest.MonkeyPatch, alice: User) -> None:
    client = api(alice)
    type_password(monkeypatch, "another long phrase 3", "another long phrase 3")

    call_command("changepassword", "Alice@Example.com")

    before, alice = alice, User.objects.get(pk=alice.pk)
    assert alice.check_password("another long phrase 3")
    assert alice.epoch == before.epoch + 1
    assert client.get("/api/v1/users/me").status_code == 401
    assert not Session.objects.filter(user=alice, ended_at__isnull=True).exists()
    row = AuditLog.objects.get(action="user.password_changed")
    assert (row.user_id, row.actor_id, row.source) == (alice.pk, None, "SYSTEM")
    assert row.metadata == {"how": "set_by_operator"}
    mail = Mail.objects.get(user=alice, name="password-changed")
    assert mail.context["device"] == "Our staff, at the server"


@pytest.mark.parametrize(
    ("email", "typed", "why"),
    [
        ("nobody@example.com", (), "nobody with the address"),
        ("alice@example.com", ("another long phrase 3", "another long phrase 4"), "not the same"),
        ("alice@example.com", ("short", "short"), "at least 8 characters"),
        ("gone@example.com", ("another long phrase 3", "another long phrase 3"), "deleted"),
    ],
)
def test_changepassword_refuses_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, alice: User, email: str, typed: tuple[str, ...], why: str
) -> None:
    gone = make_user("gone@example.com")
    User.objects.filter(pk=gone.pk).update(status="deleting")
    before = list(User.objects.order_by("pk").values("password", "epoch"))
    type_password(monkeypatch, *typed)

    with pytest.raises(CommandError, match=why):
        call_command("changepassword", email)

    assert list(User.objects.order_by("pk").values("password", "epoch")) == before
    assert not AuditLog.objects.filter(action="user.password_changed").exists()
    assert not Mail.objects.filter(name="password-changed").exists()


def test_a_suspended_member_of_staff_cannot_enter(boss: User) -> None:
    client = console(boss)
    assert client.get("/admin/").status_code == 200

    User.objects.filter(pk=boss.pk).update(status="suspended")

    assert client.get("/admin/").status_code == 302
    again = Client().post("/admin/login/", {"username": boss.email, "password": PASSWORD})
    assert again.status_code == 200
    assert "correct" in again.content.decode()


def test_the_three_groups_exist() -> None:
    assert set(Group.objects.values_list("name", flat=True)) >= {"support", "finance", "ops"}


def test_a_superuser_adds_staff_by_hand(boss: User) -> None:
    answer = console(boss).post(
        reverse("admin:accounts_user_add"),
        {
            "email": "New.Support@Example.test",
            "first_name": "Sam",
            "last_name": "",
            "usable_password": "true",
            "password1": PASSWORD,
            "password2": PASSWORD,
        },
    )

    assert answer.status_code == 302, answer.content.decode()[:3000]
    user = User.objects.get(email="new.support@example.test")
    assert (user.is_staff, user.is_superuser, user.is_verified) == (True, False, True)
    assert user.check_password(PASSWORD)
    row = AuditLog.objects.get(action="user.staff_created", user_id=user.pk)
    assert (row.actor_id, row.user_id, row.source) == (boss.pk, user.pk, "ADMIN")


def change(client: Client, user: User, **fields: Any) -> Any:
    return client.post(reverse("admin:accounts_user_change", args=[user.pk]), fields)


def test_a_superuser_changes_standing_and_it_is_on_record(boss: User, alice: User) -> None:
    support = Group.objects.get(name="support")

    answer = change(
        console(boss),
        alice,
        first_name="Alice",
        last_name="A",
        is_staff="on",
        groups=[support.pk],
        email="x@example.com",
    )

    assert answer.status_code == 302, answer.content.decode()[:3000]
    alice.refresh_from_db()
    assert (alice.is_staff, alice.is_superuser, alice.last_name) == (True, False, "A")
    assert alice.email == "alice@example.com"
    assert list(alice.groups.values_list("name", flat=True)) == ["support"]
    row = AuditLog.objects.get(action="user.updated")
    assert (row.actor_id, row.old, row.new) == (boss.pk, {"is_staff": False}, {"is_staff": True})
    groups = AuditLog.objects.get(action="user.groups_changed")
    assert (groups.old, groups.new) == ({"groups": []}, {"groups": ["support"]})


def test_a_form_sent_unchanged_leaves_no_record(boss: User, alice: User) -> None:
    assert change(console(boss), alice, first_name="Alice", last_name="").status_code == 302

    assert not AuditLog.objects.filter(action__in=["user.updated", "user.groups_changed"]).exists()


def test_nobody_else_can_widen_rights(alice: User) -> None:
    ops = make_staff("ops")
    grant_view(ops)

    change(console(ops), ops, first_name="O", last_name="", is_staff="on", is_superuser="on", groups=[1])
    change(console(ops), alice, first_name="Al", last_name="", is_staff="on")
    added = console(ops).get(reverse("admin:accounts_user_add"))

    ops.refresh_from_db()
    alice.refresh_from_db()
    assert not ops.is_superuser
    assert not alice.is_staff
    assert alice.first_name == "Al"
    assert added.status_code == 403


def test_nobody_deletes_people_and_nobody_edits_sessions(boss: User, alice: User) -> None:
    session = open_session(alice)
    client = console(boss)

    codes = [
        client.post(reverse("admin:accounts_user_delete", args=[alice.pk]), {"post": "yes"}).status_code,
        client.post(reverse("admin:accounts_session_delete", args=[session.pk]), {"post": "yes"}).status_code,
        client.post(reverse("admin:accounts_session_change", args=[session.pk]), {"remember": "on"}).status_code,
        client.get(reverse("admin:accounts_session_add")).status_code,
    ]

    assert codes == [403, 403, 403, 403]
    session.refresh_from_db()
    assert not session.remember
    assert User.objects.filter(pk=alice.pk).exists()


@pytest.mark.parametrize(
    ("model", "pick"),
    [
        ("user", lambda user: user.pk),
        ("session", lambda user: Session.objects.filter(user=user).latest("created_at").pk),
        ("emailverification", lambda user: user.email_verifications.get().pk),
    ],
)
def test_pages_open_and_show_no_secret(boss: User, alice: User, model: str, pick: Any) -> None:
    open_session(alice)

    page = console(boss).get(reverse(f"admin:accounts_{model}_change", args=[pick(alice)]))

    assert page.status_code == 200
    text = page.content.decode()
    alice.refresh_from_db()
    for secret in (alice.password, "argon2", verification_token(alice), alice.email_verifications.get().token_hash):
        assert secret not in text


@pytest.mark.parametrize("query", ["ALICE@exam", "alice@example.com", "{id}"])
def test_people_are_found_by_the_beginning_of_the_address_or_the_id(boss: User, alice: User, query: str) -> None:
    make_user("other@example.com")

    page = console(boss).get(reverse("admin:accounts_user_changelist"), {"q": query.format(id=alice.pk)})

    assert page.status_code == 200
    assert "alice@example.com" in page.content.decode()
    assert "other@example.com" not in page.content.decode()


@pytest.mark.parametrize("model", ["session", "emailverification"])
@pytest.mark.parametrize("query", ["alice@example.com", "not an address", "192.0.2.1", "\u00e9'--"])
def test_any_search_answers(boss: User, alice: User, model: str, query: str) -> None:
    open_session(alice)

    assert console(boss).get(reverse(f"admin:accounts_{model}_changelist"), {"q": query}).status_code == 200


@pytest.mark.parametrize("model", ["user", "session", "emailverification"])
def test_a_list_costs_the_same_for_few_and_for_many(boss: User, model: str, django_assert_max_num_queries: Any) -> None:
    for _ in range(12):
        open_session(make_user(verified=False))
    client = console(boss)

    with django_assert_max_num_queries(7):  # one says how long the others may take
        assert client.get(reverse(f"admin:accounts_{model}_changelist")).status_code == 200


def test_a_session_of_the_console_is_no_token_for_the_api(boss: User) -> None:
    client = console(boss)

    assert client.get("/api/v1/users/me").status_code == 401
    assert api(boss).get("/api/v1/users/me").status_code == 200


def enter(password: str, **extra: Any) -> Any:
    body = {"username": "boss@example.test", "password": password, "next": "/admin/"}
    return Client(**extra).post("/admin/login/", body)


def test_signing_in_to_the_console_is_on_record(boss: User) -> None:
    enter("a wrong password")
    enter(PASSWORD)
    Client().post("/admin/login/", {"username": "nobody@example.test", "password": PASSWORD})

    rows = AuditLog.objects.filter(action__startswith="user.log").order_by("id")
    assert [(row.action, row.entity_id, row.source) for row in rows] == [
        ("user.login_failed", str(boss.pk), "ADMIN"),
        ("user.logged_in", str(boss.pk), "ADMIN"),
        ("user.login_failed", "unknown", "ADMIN"),
    ]


def test_a_customer_is_refused_at_the_console(alice: User) -> None:
    answer = Client().post("/admin/login/", {"username": alice.email, "password": PASSWORD})

    assert answer.status_code == 200
    assert AuditLog.objects.filter(action="user.login_failed", user_id=alice.pk).count() == 1


def test_failures_at_the_console_are_limited_together_with_the_apis(boss: User, settings: Settings) -> None:
    settings.RATELIMIT_ENABLE = True
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"failed_logins": (3, 86_400, "ip")}
    address = {"REMOTE_ADDR": "198.51.100.60"}
    wrong = {"email": boss.email, "password": "a wrong password"}

    api_codes = [APIClient(**address).post("/api/v1/auth/login", wrong).status_code for _ in range(2)]
    enter("a wrong password", **address)

    assert api_codes == [401, 401]
    locked = enter(PASSWORD, **address)
    assert locked.status_code == 200
    assert "Too many requests" in locked.content.decode()
    assert enter(PASSWORD, REMOTE_ADDR="198.51.100.61").status_code == 302


def test_old_sessions_and_links_are_forgotten(alice: User, bob: User) -> None:
    ended, expired, live = open_session(alice), open_session(alice), open_session(alice)
    long_ago = Now() - timedelta(days=91)
    Session.objects.filter(pk=ended.pk).update(ended_at=long_ago, end_reason="logout")
    Session.objects.filter(pk=expired.pk).update(expires_at=long_ago)
    alice.email_verifications.update(expires_at=long_ago)

    purge()
    purge()

    assert list(Session.objects.filter(user=alice)) == [live]
    assert not alice.email_verifications.exists()
    assert bob.email_verifications.count() == 1
    assert AuditLog.objects.get(action="session.purged").metadata == {"count": 2}

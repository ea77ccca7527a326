"""What staff do to accounts: suspend, reinstate, vouch, remind, sign out, reset the second factor."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.urls import reverse
from django_otp.plugins.otp_static.models import StaticDevice
from pytest_django import Settings

from accounts import mfa, standing
from accounts.models import EmailVerification, Session, User
from audit.models import AuditLog
from billing.models import SignUpGrant
from core.errors import Conflict, PermissionDenied
from notifications.models import Mail
from tests import books
from tests.accounts.authenticator import code_of, set_up
from tests.people import PASSWORD, api, make_staff, make_user, open_session

pytestmark = pytest.mark.django_db

WHY = "Reported by the bank."


@pytest.fixture
def boss(db: None) -> User:
    return User.objects.create_superuser("boss@example.test", PASSWORD)


def console(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def press(client: Client, act: str, user: User, reason: str = WHY, **extra: Any) -> Any:
    url = reverse(f"admin:accounts_user_{act}", args=[user.pk])
    return client.post(url, {"reason": reason, "_form_submitted": "True"}, **extra)


# --- Suspension -------------------------------------------------------------------------------------------------------


def test_suspension_ends_every_session_at_once(alice: User, support: User) -> None:
    client = api(alice)
    pair = api().post("/api/v1/auth/login", {"email": alice.email, "password": PASSWORD}).json()

    standing.suspend(alice, actor=support, reason=WHY)

    assert client.get("/api/v1/users/me").json()["error"] == "account_suspended"
    assert api().post("/api/v1/auth/refresh", {"refresh": pair["refresh"]}).status_code == 403
    again = api().post("/api/v1/auth/login", {"email": alice.email, "password": PASSWORD})
    assert (again.status_code, again.json()["error"]) == (403, "account_suspended")
    assert not Session.objects.filter(user=alice, ended_at__isnull=True).exists()
    assert set(Session.objects.filter(user=alice).values_list("end_reason", flat=True)) == {"staff"}
    row = AuditLog.objects.get(action="user.suspended")
    assert (row.actor_id, row.user_id, row.metadata) == (support.pk, alice.pk, {"reason": WHY})
    assert (row.old, row.new) == ({"status": "active"}, {"status": "suspended"})


def test_suspending_twice_is_once(alice: User, support: User) -> None:
    standing.suspend(alice, actor=support, reason=WHY)
    standing.suspend(alice, actor=support, reason=WHY)

    assert AuditLog.objects.filter(action="user.suspended").count() == 1


def test_reinstating_lets_in_by_a_new_sign_in_only(alice: User, support: User) -> None:
    client = api(alice)
    standing.suspend(alice, actor=support, reason=WHY)

    standing.reinstate(alice, actor=support, reason="A mistake.")

    assert client.get("/api/v1/users/me").json()["error"] == "session_ended"
    assert api().post("/api/v1/auth/login", {"email": alice.email, "password": PASSWORD}).status_code == 200
    assert AuditLog.objects.get(action="user.reinstated").metadata == {"reason": "A mistake."}


def test_a_suspended_colleagues_console_does_not_revive(support: User, boss: User) -> None:
    client = console(support)
    assert client.get("/admin/").status_code == 200

    standing.suspend(support, actor=boss, reason=WHY)
    assert client.get("/admin/").status_code == 302
    standing.reinstate(support, actor=boss, reason=WHY)

    assert client.get("/admin/").status_code == 302


@pytest.mark.parametrize("act", [standing.suspend, standing.reinstate, standing.sign_out, standing.vouch])
def test_nobody_does_it_to_themselves_or_to_a_superuser(support: User, boss: User, act: Any) -> None:
    before = AuditLog.objects.count()

    for user, actor in ((support, support), (boss, boss), (boss, support)):
        with pytest.raises(PermissionDenied):
            act(user, actor=actor, reason=WHY)

    assert AuditLog.objects.count() == before
    assert not User.objects.filter(status="suspended").exists()


def test_a_superuser_may_suspend_another(boss: User) -> None:
    other = User.objects.create_superuser("other@example.test", PASSWORD)

    assert standing.suspend(other, actor=boss, reason=WHY).status == "suspended"


@pytest.mark.parametrize("status", ["deleting", "deleted"])
def test_whoever_leaves_is_neither_suspended_nor_brought_back(alice: User, support: User, status: str) -> None:
    User.objects.filter(pk=alice.pk).update(status=status)

    for act in (standing.suspend, standing.reinstate):
        with pytest.raises(Conflict):
            act(alice, actor=support, reason=WHY)

    alice.refresh_from_db()
    assert alice.status == status


@pytest.mark.django_db(transaction=True)
def test_sign_ins_during_a_suspension_leave_no_session_alive(alice: User, support: User) -> None:
    start = threading.Barrier(6)

    def sign_in() -> None:
        start.wait()
        for _ in range(5):
            api().post("/api/v1/auth/login", {"email": alice.email, "password": PASSWORD})
        connection.close()

    threads = [threading.Thread(target=sign_in) for _ in range(5)]
    for thread in threads:
        thread.start()
    start.wait()
    standing.suspend(alice, actor=support, reason=WHY)
    for thread in threads:
        thread.join()

    assert not Session.objects.filter(user=alice, ended_at__isnull=True).exists()


# --- The other acts ---------------------------------------------------------------------------------------------------


def test_vouching_gives_what_a_proved_mailbox_gives_once(unverified: User, support: User) -> None:
    standing.vouch(unverified, actor=support, reason="Sent a copy of the contract.")
    standing.vouch(unverified, actor=support, reason="Again.")

    unverified.refresh_from_db()
    assert unverified.is_verified
    assert SignUpGrant.objects.get(user=unverified).amount == 5
    assert Mail.objects.filter(name="welcome", user=unverified).count() == 1
    row = AuditLog.objects.get(action="user.verified", user_id=unverified.pk)
    assert (row.actor_id, row.metadata) == (support.pk, {"reason": "Sent a copy of the contract."})
    books.check()


def test_signing_out_ends_tokens_and_the_console(support: User, boss: User) -> None:
    tokens, pages = api(support), console(support)

    standing.sign_out(support, actor=boss, reason=WHY)

    assert tokens.get("/api/v1/users/me").json()["error"] == "session_ended"
    assert pages.get("/admin/").status_code == 302
    assert AuditLog.objects.get(action="user.signed_out").actor_id == boss.pk


def test_a_reset_second_factor_is_gone_and_its_owner_is_told(support: User, ops: User, settings: Settings) -> None:
    settings.MFA_REQUIRED = True
    secret = set_up(support)
    codes = mfa.renew_recovery_codes(support, code=code_of(secret))
    client = api(support)

    standing.reset_mfa(support, actor=ops, reason="Lost the phone.")

    assert not mfa.is_enrolled(support)
    assert not StaticDevice.objects.filter(user=support).exists()
    assert client.get("/api/v1/users/me").status_code == 401
    for otp in (code_of(secret, ahead=1), codes[0]):
        body = {"email": support.email, "password": PASSWORD, "otp": otp}
        assert api().post("/api/v1/auth/login", body).json()["error"] == "otp_invalid"
    mail = Mail.objects.filter(name="mfa-changed").latest("created_at")
    assert (mail.to, mail.context) == (support.email, {"change": "reset", "reason": "Lost the phone."})
    assert AuditLog.objects.get(action="user.mfa_reset").metadata == {"reason": "Lost the phone."}


def test_an_operator_resets_the_last_superuser_at_the_shell(boss: User) -> None:
    set_up(boss)

    with pytest.raises(CommandError, match="nobody"):
        call_command("reset_mfa", "stranger@example.test", reason=WHY)
    call_command("reset_mfa", "BOSS@example.test", reason=WHY)
    with pytest.raises(CommandError, match="no second factor"):
        call_command("reset_mfa", boss.email, reason=WHY)

    assert not mfa.is_enrolled(boss)
    row = AuditLog.objects.get(action="user.mfa_reset")
    assert (row.actor_id, row.source) == (None, "SYSTEM")


# --- Their buttons ----------------------------------------------------------------------------------------------------


def test_support_suspends_and_reinstates_on_the_persons_page(alice: User, support: User) -> None:
    client = console(support)
    page = reverse("admin:accounts_user_change", args=[alice.pk])
    assert "/suspend" in client.get(page).content.decode()

    done = press(client, "suspend", alice)

    assert (done.status_code, done["Location"]) == (302, page)
    text = client.get(page).content.decode()
    assert "all sessions are ended" in text
    assert "/reinstate" in text
    assert f"{alice.pk}/suspend" not in text
    press(client, "reinstate", alice)
    alice.refresh_from_db()
    assert alice.status == "active"
    assert AuditLog.objects.get(action="user.suspended").source == "ADMIN"


def test_the_dialogs_answer_sends_the_browser_back(alice: User, support: User) -> None:
    done = press(console(support), "sign_out", alice, headers={"HX-Request": "true"})

    assert done.status_code == 204
    assert done["HX-Redirect"] == reverse("admin:accounts_user_change", args=[alice.pk])


@pytest.mark.parametrize("reason", ["", "   ", "x" * 501])
def test_without_a_reason_nothing_happens(alice: User, support: User, reason: str) -> None:
    answer = press(console(support), "suspend", alice, reason=reason)

    assert answer.status_code == 200
    alice.refresh_from_db()
    assert alice.status == "active"


def test_looking_at_the_dialog_does_nothing(alice: User, support: User) -> None:
    answer = console(support).get(reverse("admin:accounts_user_suspend", args=[alice.pk]), {"reason": WHY})

    assert answer.status_code == 200
    assert "Shuts the person out" in answer.content.decode()
    alice.refresh_from_db()
    assert alice.status == "active"


def test_a_forged_form_is_refused(alice: User, support: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(support)

    assert press(client, "suspend", alice).status_code == 403
    alice.refresh_from_db()
    assert alice.status == "active"


def test_a_refusal_is_shown_in_the_dialog(support: User) -> None:
    answer = press(console(support), "suspend", support)

    assert answer.status_code == 200
    assert "A colleague has to do this for you." in answer.content.decode()


def test_reminding_sends_at_most_one_mail_a_minute(support: User) -> None:
    late = make_user(verified=False)
    EmailVerification.objects.filter(user=late).delete()
    client = console(support)

    press(client, "remind", late, reason="Did not arrive.")
    press(client, "remind", late, reason="Did not arrive.")

    assert EmailVerification.objects.filter(user=late).count() == 1
    row = AuditLog.objects.filter(action="email_verification.issued", user_id=late.pk).latest("id")
    assert (row.actor_id, row.metadata) == (support.pk, {"reason": "Did not arrive."})


@pytest.mark.parametrize("act", ["suspend", "reinstate", "vouch", "remind", "sign_out"])
@pytest.mark.parametrize("group", ["finance", "ops"])
def test_other_groups_have_no_such_buttons(alice: User, group: str, act: str) -> None:
    open_session(alice)
    client = console(make_staff(group))

    assert press(client, act, alice).status_code == 403
    assert client.get(reverse(f"admin:accounts_user_{act}", args=[alice.pk])).status_code == 403
    page = client.get(reverse("admin:accounts_user_change", args=[alice.pk])).content.decode()
    assert f"{alice.pk}/{act.replace('_', '-')}" not in page
    alice.refresh_from_db()
    assert alice.status == "active"
    assert Session.objects.filter(user=alice, ended_at__isnull=True).count() == 1


def test_status_is_not_written_otherwise(alice: User, boss: User) -> None:
    console(boss).post(
        reverse("admin:accounts_user_change", args=[alice.pk]),
        {"first_name": "Alice", "last_name": "", "status": "suspended", "verified_at_0": "2020-01-01", "epoch": "9"},
    )
    body = {"status": "suspended"}
    assert api(alice).patch("/api/v1/users/me", body).status_code == 400

    alice.refresh_from_db()
    assert (alice.status, alice.epoch) == ("active", 0)

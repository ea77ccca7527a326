"""The second factor of staff: at the console's door and over REST."""

from __future__ import annotations

import threading
import time
from binascii import unhexlify
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test import Client
from django.utils import timezone
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import mfa
from accounts.errors import OtpInvalid
from accounts.models import Session, User
from audit.models import AuditLog
from core import clock
from core.errors import RateLimited
from notifications.models import Mail
from tests.accounts.authenticator import code_of, first_step, recovery_codes, second_step, set_up, wrong
from tests.people import PASSWORD, api

pytestmark = pytest.mark.django_db

LOGIN = "/api/v1/auth/login"
REAL_TIME, REAL_NOW = time.time, timezone.now


@pytest.fixture(autouse=True)
def required(settings: Settings) -> None:
    settings.MFA_REQUIRED = True


def rest(user: User, **more: Any) -> Any:
    return api().post(LOGIN, {"email": user.email, "password": PASSWORD, **more})


def may_try_again() -> None:
    """As if the wait after wrong codes were over."""
    for model in (TOTPDevice, StaticDevice):
        model.objects.update(throttling_failure_timestamp=F("throttling_failure_timestamp") - timedelta(days=1))


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """No second passes for whoever waits, however slow this machine is."""
    moment = clock.now()
    monkeypatch.setattr(mfa, "clock", SimpleNamespace(now=lambda: moment))


# --- Over REST --------------------------------------------------------------------------------------------------------


def test_staff_sign_in_over_rest_with_a_code(support: User) -> None:
    secret = set_up(support)

    missing = rest(support)
    bad = rest(support, otp=wrong(secret))
    may_try_again()
    right = rest(support, otp=code_of(secret))

    assert (missing.status_code, missing.json()["error"]) == (401, "otp_required")
    assert (bad.status_code, bad.json()["error"]) == (401, "otp_invalid")
    assert right.status_code == 200
    assert Session.objects.get(user=support).has_staff_rights


def test_a_wrong_password_learns_nothing_of_the_second_factor(support: User) -> None:
    secret = set_up(support)

    answers = [
        api().post(LOGIN, {"email": support.email, "password": "a wrong password", "otp": otp})
        for otp in ("", "000000", code_of(secret))
    ]

    assert {answer.json()["error"] for answer in answers} == {"invalid_credentials"}
    device = TOTPDevice.objects.get()
    assert (device.throttling_failure_count, device.last_t) == (0, -1)


def test_staff_without_a_second_factor_are_told_so_and_stay_outside(support: User) -> None:
    assert rest(support).json()["error"] == "otp_required"
    assert rest(support, otp="123456").json()["error"] == "otp_invalid"
    assert not Session.objects.exists()


def test_customers_are_not_asked(alice: User) -> None:
    assert rest(alice).status_code == 200
    assert rest(alice, otp="123456").status_code == 200


def test_in_development_nobody_is_asked(support: User, settings: Settings) -> None:
    settings.MFA_REQUIRED = False

    assert rest(support).status_code == 200
    assert Session.objects.get().has_staff_rights


def test_a_code_is_accepted_once(support: User) -> None:
    code = code_of(set_up(support))

    assert rest(support, otp=code).status_code == 200
    again = rest(support, otp=code)

    assert (again.status_code, again.json()["error"]) == (401, "otp_invalid")
    assert Session.objects.filter(user=support).count() == 1


def test_old_and_far_codes_are_refused(support: User) -> None:
    secret = set_up(support)

    for ahead in (-3, 3, 100):
        assert rest(support, otp=code_of(secret, ahead=ahead)).json()["error"] == "otp_invalid"
        may_try_again()


@pytest.mark.parametrize("code", ["", " ", "１２３４５６", "12345", "1234567", "-12345", "0x1234", "a" * 40, "\x00"])  # noqa: RUF001
def test_no_other_text_passes(support: User, code: str) -> None:
    set_up(support)

    assert rest(support, otp=code).status_code in (400, 401)
    assert not Session.objects.exists()


def test_wrong_codes_make_the_next_wait_longer_and_longer(support: User, stopped: None) -> None:
    secret = set_up(support)

    for _ in range(3):
        with pytest.raises(OtpInvalid):
            mfa.prove(support, wrong(secret))
        with pytest.raises(RateLimited) as early:
            mfa.prove(support, code_of(secret))
        waited = early.value.retry_after
        may_try_again()

    assert waited == 4
    mfa.prove(support, code_of(secret))
    assert TOTPDevice.objects.get().throttling_failure_count == 0


def test_while_waiting_even_the_right_code_is_429_and_not_spent(support: User, stopped: None) -> None:
    secret = set_up(support)
    rest(support, otp=wrong(secret))

    early = rest(support, otp=code_of(secret))

    assert (early.status_code, early.json()["error"]) == (429, "rate_limited")
    assert int(early.headers["Retry-After"]) >= 1
    may_try_again()
    assert rest(support, otp=code_of(secret)).status_code == 200


def test_wrong_codes_count_with_wrong_passwords(support: User, settings: Settings) -> None:
    settings.RATELIMIT_ENABLE = True
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"auth": (99, 86_400, "ip"), "failed_logins": (2, 86_400, "ip")}
    secret = set_up(support)
    client = APIClient(REMOTE_ADDR="198.51.100.80")
    body = {"email": support.email, "password": PASSWORD}

    codes = [client.post(LOGIN, body | {"otp": wrong(secret)}).status_code]
    may_try_again()
    codes += [client.post(LOGIN, body | {"password": "a wrong password"}).status_code]
    codes += [client.post(LOGIN, body | {"otp": code_of(secret)}).status_code]

    assert codes == [401, 401, 429]


def test_a_refused_code_is_on_record(support: User) -> None:
    secret = set_up(support)

    rest(support, otp=wrong(secret))

    row = AuditLog.objects.get(action="user.login_failed")
    assert (row.entity_id, row.metadata) == (str(support.pk), {"reason": "otp_invalid"})


def test_a_session_without_the_second_factor_has_no_staff_rights(alice: User, boss: User) -> None:
    before = rest(alice).json()
    User.objects.filter(pk=alice.pk).update(is_staff=True)

    session = Session.objects.get(user=alice)

    assert not session.has_staff_rights
    assert api().post("/api/v1/auth/refresh", {"refresh": before["refresh"]}).status_code == 200
    session.refresh_from_db()
    assert not session.has_staff_rights


@pytest.mark.django_db(transaction=True)
def test_one_code_twenty_times_at_once_opens_one_session(support: User) -> None:
    code = code_of(set_up(support))
    outcomes: list[str] = []

    def go() -> None:
        try:
            mfa.prove(support, code)
            outcomes.append("in")
        except (OtpInvalid, RateLimited):
            outcomes.append("out")
        finally:
            connection.close()

    threads = [threading.Thread(target=go) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["in"] + ["out"] * 19


def wrong_by(hours: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on this is a machine whose clock is so wrong."""
    skew = timedelta(hours=hours)
    monkeypatch.setattr(time, "time", lambda: REAL_TIME() + skew.total_seconds())
    monkeypatch.setattr("django_otp.oath.time", lambda: REAL_TIME() + skew.total_seconds())
    monkeypatch.setattr(timezone, "now", lambda: REAL_NOW() + skew)


@pytest.mark.parametrize("hours", [1, -1])
def test_machines_with_wrong_clocks_take_the_same_codes_and_none_twice(
    support: User, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    secret = set_up(support)
    code, next_code, far = code_of(secret), code_of(secret, ahead=1), code_of(secret, ahead=120 * hours)

    wrong_by(hours, monkeypatch)
    mfa.prove(support, code)
    wrong_by(-hours, monkeypatch)
    for spent in (code, far):
        with pytest.raises(OtpInvalid):
            mfa.prove(support, spent)
        may_try_again()

    mfa.prove(support, next_code)
    assert timedelta() <= clock.now() - (TOTPDevice.objects.get().last_used_at or clock.now()) < timedelta(minutes=5)


@pytest.mark.parametrize("hours", [1, -1])
def test_one_waits_as_long_at_a_machine_with_a_wrong_clock(
    support: User, monkeypatch: pytest.MonkeyPatch, stopped: None, hours: int
) -> None:
    secret = set_up(support)
    bad, code = wrong(secret), code_of(secret)

    wrong_by(-hours, monkeypatch)
    with pytest.raises(OtpInvalid):
        mfa.prove(support, bad)
    wrong_by(hours, monkeypatch)
    with pytest.raises(RateLimited) as early:
        mfa.prove(support, code)

    assert early.value.retry_after == 1


@pytest.mark.parametrize("hours", [1, -1])
def test_an_app_is_set_up_at_a_machine_with_a_wrong_clock(
    support: User, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    secret = mfa.new_secret()
    code, next_code = code_of(secret), code_of(secret, ahead=1)

    wrong_by(hours, monkeypatch)
    mfa.enrol(support, secret=secret, code=code)

    mfa.prove(support, next_code)


# --- At the console's door --------------------------------------------------------------------------------------------


@pytest.fixture
def boss(db: None) -> User:
    return User.objects.create_superuser("boss@example.test", PASSWORD)


def test_the_password_alone_opens_nothing(boss: User) -> None:
    set_up(boss)
    client = first_step(boss)

    pages = ["/admin/", "/admin/accounts/user/", "/admin/two-step/", "/admin/search/", "/admin/two-step/app/"]
    answers = [client.get(page) for page in pages]

    assert {answer.status_code for answer in answers} == {302}
    assert client.get("/admin/", follow=True).redirect_chain[-1][0] == "/admin/second-step/?next=%2Fadmin%2F"
    assert not AuditLog.objects.filter(action="user.logged_in").exists()


def test_the_code_opens_where_one_was_going(boss: User) -> None:
    secret = set_up(boss)
    client = first_step(boss, then="/admin/accounts/user/")

    question = client.get("/admin/accounts/user/", follow=True)
    answer = client.post(question.redirect_chain[-1][0], {"code": code_of(secret)})

    assert (answer.status_code, answer["Location"]) == (302, "/admin/accounts/user/")
    assert client.get("/admin/accounts/user/").status_code == 200
    row = AuditLog.objects.get(action="user.logged_in")
    assert (row.actor_id, row.metadata) == (boss.pk, {"console": True, "mfa": True})


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example", "javascript:alert(1)"])
def test_nobody_is_sent_elsewhere(boss: User, elsewhere: str) -> None:
    client = first_step(boss)
    secret = set_up(boss)

    answer = client.post(f"/admin/second-step/?next={elsewhere}", {"code": code_of(secret)})

    assert answer["Location"] == "/admin/"


def test_a_wrong_code_stays_outside_and_is_on_record(boss: User) -> None:
    secret = set_up(boss)
    client = first_step(boss)

    page = second_step(client, wrong(secret))

    assert page.status_code == 200
    assert "wrong" in page.content.decode()
    assert client.get("/admin/").status_code == 302
    assert AuditLog.objects.get(action="user.login_failed").metadata == {"reason": "otp_invalid"}


def test_the_sessions_key_changes_when_it_gains_rights(boss: User) -> None:
    secret = set_up(boss)
    client = first_step(boss)
    before = client.session.session_key

    second_step(client, code_of(secret))

    assert client.session.session_key != before


def test_one_can_leave_at_the_second_step(boss: User) -> None:
    set_up(boss)
    client = first_step(boss)

    answer = client.post("/admin/second-step/", {"leave": "1"})

    assert answer.status_code == 302
    assert "_auth_user_id" not in client.session


@pytest.mark.parametrize("page", ["/admin/second-step/", "/admin/two-step/app/", "/admin/two-step/"])
def test_strangers_and_customers_are_sent_to_the_door(alice: User, page: str) -> None:
    customer = Client()
    customer.force_login(alice)

    for client in (Client(), customer):
        assert client.get(page)["Location"].startswith("/admin/login/")
        assert client.post(page, {"code": "123456"})["Location"].startswith("/admin/login/")


def enrolling(user: User) -> tuple[Client, str]:
    client = first_step(user)
    page = client.get("/admin/", follow=True)
    assert page.redirect_chain[-1][0].startswith("/admin/two-step/app/")
    return client, client.session["mfa_new_app"]


def test_who_has_none_is_led_to_set_one_up_and_gets_recovery_codes_once(boss: User) -> None:
    client, secret = enrolling(boss)
    page = client.get("/admin/two-step/app/")
    assert mfa.readable(secret) in page.content.decode()
    assert "<svg" in page.content.decode()
    assert page["Cache-Control"].count("no-store")

    done = client.post("/admin/two-step/app/", {"code": code_of(secret)})

    codes = recovery_codes(done)
    assert len(set(codes)) == 10
    assert client.get("/admin/").status_code == 200
    again = client.get("/admin/two-step/").content.decode()
    assert "10 recovery codes left" in again
    assert not any(code in again for code in codes)
    stored = set(StaticToken.objects.values_list("token", flat=True))
    assert len(stored) == 10
    assert not stored & {code.replace("-", "") for code in codes}
    assert AuditLog.objects.filter(action="user.mfa_enrolled", actor_id=boss.pk).count() == 1
    assert Mail.objects.get(name="mfa-changed").to == boss.email
    assert secret not in str(list(AuditLog.objects.values())) + str(list(Mail.objects.values()))


def test_the_code_that_set_it_up_opens_nothing_else(boss: User) -> None:
    client, secret = enrolling(boss)
    code = code_of(secret)
    client.post("/admin/two-step/app/", {"code": code})

    assert rest(boss, otp=code).json()["error"] == "otp_invalid"


def test_a_wrong_first_code_sets_nothing_up(boss: User) -> None:
    client, secret = enrolling(boss)

    page = client.post("/admin/two-step/app/", {"code": wrong(secret)})

    assert page.status_code == 200
    assert not mfa.is_enrolled(boss)
    assert client.session["mfa_new_app"] == secret
    assert client.get("/admin/").status_code == 302


def test_a_second_window_cannot_replace_what_the_first_has_set_up(boss: User) -> None:
    first, secret = enrolling(boss)
    second, other = enrolling(boss)
    first.post("/admin/two-step/app/", {"code": code_of(secret)})

    answer = second.post("/admin/two-step/app/", {"code": code_of(other)})

    assert answer["Location"].startswith("/admin/second-step/")
    assert TOTPDevice.objects.get().key == secret


def inside(user: User) -> tuple[Client, str, list[str]]:
    client, secret = enrolling(user)
    codes = recovery_codes(client.post("/admin/two-step/app/", {"code": code_of(secret)}))
    return client, secret, codes


def test_a_recovery_code_stands_in_once(boss: User) -> None:
    _, _, codes = inside(boss)

    answer = second_step(first_step(boss), codes[3].upper().replace("-", " "))
    over_rest = rest(boss, otp=codes[4])
    again = rest(boss, otp=codes[3])

    assert (answer.status_code, over_rest.status_code, again.status_code) == (302, 200, 401)
    assert mfa.recovery_codes_left(boss) == 8
    assert AuditLog.objects.filter(action="user.recovery_code_used").count() == 2


def test_a_colleagues_recovery_code_is_worth_nothing(boss: User, support: User) -> None:
    _, _, codes = inside(boss)
    inside(support)

    assert rest(support, otp=codes[0]).json()["error"] == "otp_invalid"
    assert mfa.recovery_codes_left(boss) == 10


def test_new_recovery_codes_cost_a_code_and_end_the_old(boss: User) -> None:
    client, secret, old = inside(boss)

    refused = client.post("/admin/two-step/", {"code": wrong(secret)})
    may_try_again()
    fresh = recovery_codes(client.post("/admin/two-step/", {"code": code_of(secret, ahead=1)}))

    assert recovery_codes(refused) == []
    assert len(set(fresh) - set(old)) == 10
    assert rest(boss, otp=old[0]).status_code == 401
    may_try_again()
    assert rest(boss, otp=fresh[0]).status_code == 200


def test_moving_to_another_app_costs_a_code_of_the_former(boss: User) -> None:
    client, secret, codes = inside(boss)
    client.get("/admin/two-step/app/")
    new = client.session["mfa_new_app"]
    assert new != secret

    unproved = client.post("/admin/two-step/app/", {"code": code_of(new)})
    wrongly = client.post("/admin/two-step/app/", {"code": code_of(new), "current": "aaaa-aaaa-aaaa-aaaa"})
    assert (recovery_codes(unproved), recovery_codes(wrongly)) == ([], [])
    assert TOTPDevice.objects.get().key == secret
    may_try_again()
    done = client.post("/admin/two-step/app/", {"code": code_of(new), "current": codes[0]})

    assert len(recovery_codes(done)) == 10
    assert TOTPDevice.objects.get().key == new
    assert client.get("/admin/").status_code == 200


def test_the_apps_address_names_us_and_the_person(boss: User) -> None:
    secret = mfa.new_secret()

    uri = mfa.uri(boss, secret)

    assert uri.startswith("otpauth://totp/Atelier%3Aboss%40example.test?secret=")
    assert "issuer=Atelier" in uri
    assert len(unhexlify(secret)) == 20


def test_a_raised_epoch_ends_the_consoles_sessions(boss: User) -> None:
    client, _, _ = inside(boss)

    User.objects.filter(pk=boss.pk).update(epoch=F("epoch") + 1)

    assert client.get("/admin/").status_code == 302
    assert "_auth_user_id" not in client.session


def test_devices_have_no_pages(boss: User) -> None:
    client, _, _ = inside(boss)

    assert client.get("/admin/otp_totp/totpdevice/").status_code == 404
    assert client.get("/admin/otp_static/staticdevice/").status_code == 404

"""Forgetting a person: what is closed, what goes, what stays for the books."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings as configured
from django.core import mail as post
from django.db.models.functions import Now
from django.utils.module_loading import import_string

from accounts import erasure
from accounts.errors import StaffAccount
from accounts.models import EmailVerification, Erasure, Export, Session, User, UserStatus
from audit.models import AuditDetail, AuditLog
from billing import ledger, payments
from billing.models import Debt, LedgerTransaction, Payment, PaymentState, Refund, SignUpGrant, Wallet
from core import files, storage
from core.ids import new_id
from core.models import StoredObject
from generation.models import Generation, State
from notifications import delivery, outbox
from notifications.models import Mail
from tests import books
from tests.billing.buying import pay, start, together
from tests.billing.conftest import _sandbox, sandbox  # noqa: F401
from tests.billing.given import held, topped_up
from tests.dying import die_at
from tests.generation.material import fund, jpeg, order, photo_of, sweep
from tests.people import PASSWORD, api, make_user, open_session
from tests.sandbox.process import RunningSandbox

pytestmark = pytest.mark.django_db

URL = "/api/v1/users/me"


def go_on() -> int:
    """What beat makes the workers do, as if the next look were due."""
    Erasure.objects.filter(finished_at__isnull=True).update(next_at=Now())
    return erasure.advance_due()


def erased(user: User) -> User:
    erasure.request(user)
    go_on()
    delivery.deliver_due()
    go_on()
    user = User.objects.get(pk=user.pk)
    assert user.status == UserStatus.DELETED
    return user


# --- Asking -----------------------------------------------------------------------------------------------------------


def test_the_password_deletes_the_account_and_every_token_dies_at_once(alice: User) -> None:
    phone, laptop = api(alice), api(alice)

    answer = phone.post(f"{URL}/delete", {"password": PASSWORD})

    assert (answer.status_code, answer.json()) == (202, {"status": "deleting"})
    assert [client.get(URL).json()["error"] for client in (phone, laptop)] == ["session_ended"] * 2
    login = api().post("/api/v1/auth/login", {"email": alice.email, "password": PASSWORD})
    assert (login.status_code, login.json()["error"]) == (401, "invalid_credentials")
    assert set(Session.objects.values_list("end_reason", flat=True)) == {"deleted"}


@pytest.mark.parametrize(
    ("body", "code"),
    [({"password": "wrong horse"}, "password_wrong"), ({}, "invalid"), ({"password": PASSWORD, "now": 1}, "invalid")],
)
def test_without_the_password_nothing_happens(alice: User, body: dict[str, Any], code: str) -> None:
    client = api(alice)

    answer = client.post(f"{URL}/delete", body)

    assert (answer.status_code, answer.json()["error"]) == (400, code)
    assert client.get(URL).status_code == 200
    assert not Erasure.objects.exists()


def test_a_fresh_sign_in_is_enough_and_an_old_one_is_not(alice: User) -> None:
    client = api(alice)
    Session.objects.update(created_at=Now() - timedelta(minutes=11))

    answer = client.delete(URL)

    assert (answer.status_code, answer.json()["error"]) == (403, "reauthentication_required")
    assert not Erasure.objects.exists()
    assert api(alice).delete(URL).status_code == 202
    assert User.objects.get(pk=alice.pk).status == UserStatus.DELETING


def test_staff_are_not_erased_while_they_are_staff(support: User) -> None:
    session = open_session(support)

    with pytest.raises(StaffAccount):
        erasure.request(support)

    support.refresh_from_db()
    assert support.status == UserStatus.ACTIVE
    session.refresh_from_db()
    assert session.ended_at is None


def test_it_is_limited_like_other_sensitive_things(alice: User, limited: None) -> None:
    client = api(alice)

    codes = [client.post(f"{URL}/delete", {"password": "wrong horse"}).status_code for _ in range(4)]

    assert codes == [400, 400, 400, 429]


def test_asking_twice_is_asking_once(alice: User) -> None:
    assert erasure.request(alice).pk == erasure.request(alice).pk
    assert AuditLog.objects.filter(action="user.erasure_requested").count() == 1


# --- What becomes of it -----------------------------------------------------------------------------------------------


def test_the_row_says_nothing_of_the_person_any_more(alice: User, settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path
    client = api(alice, **{"user-agent": "alice's own browser"})
    client.patch(URL, {"username": "alice", "bio": "Potter", "locale": "en-IN", "currency": "INR"})
    with open(tmp_path / "me.jpg", "wb+") as file:
        file.write(jpeg())
        file.seek(0)
        client.patch(URL, {"avatar": file}, format="multipart")
    alice.refresh_from_db()
    picture = alice.avatar_id

    user = erased(alice)

    assert (user.first_name, user.last_name, user.bio, user.locale) == ("", "", "", "")
    assert (user.username, user.currency, user.avatar_id, user.last_login) == (None, None, None, None)
    assert user.email == f"{user.pk}@erased.invalid"
    assert not user.has_usable_password()
    assert not Session.objects.filter(user=user).exists()
    assert not EmailVerification.objects.filter(user=user).exists()
    files.remove_expired()
    assert not storage.exists(picture)
    assert not AuditDetail.objects.filter(log__user_id=user.pk).exists()
    assert AuditLog.objects.filter(user_id=user.pk, detail_hash__isnull=False).exists()
    everything = [str(row) for model in apps.get_models() for row in model._default_manager.values()]
    assert [row for row in everything if "alice" in row.casefold() or "potter" in row.casefold()] == []


def test_the_last_mail_goes_to_the_old_address_and_is_then_forgotten(alice: User) -> None:
    erasure.request(alice)
    go_on()

    last = Mail.objects.get(name="account-deleted")
    assert (last.to, last.state) == ("alice@example.com", "queued")
    assert Erasure.objects.get().waits_for == ["mail"]
    assert set(Mail.objects.exclude(pk=last.pk).values_list("state", flat=True)) <= {"suppressed", "sent"}

    delivery.deliver_due()
    go_on()

    [message] = post.outbox
    assert (message.to, message.subject) == (["alice@example.com"], "Your Atelier account is deleted")
    last.refresh_from_db()
    assert (last.state, last.to, last.context, last.subject) == ("sent", f"{alice.pk}@erased.invalid", {}, "")
    assert Erasure.objects.get().finished_at is not None
    assert outbox.enqueue("welcome", user=User.objects.get(pk=alice.pk), cause="late", context={}) is None


def test_jobs_photos_and_outputs_go(alice: User, settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path
    fund(alice, 100)
    photo = photo_of(alice)
    job = order(alice, photo, name="Alice's own", style_prompt="in the garden of alice")

    erased(alice)
    sweep()

    job.refresh_from_db()
    assert (job.state, job.params, job.deleted_at is not None) == (State.CANCELED, {}, True)
    photo.refresh_from_db()
    assert (photo.filename, photo.file_id, photo.deleted_at is not None) == ("", None, True)
    assert not StoredObject.objects.exists()
    assert ledger.balance(alice.pk).balance == 0
    books.check()


def test_a_job_whose_output_is_being_stored_is_waited_for(alice: User, settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path
    fund(alice, 100)
    job = order(alice)
    lease = new_id()
    Generation.objects.filter(pk=job.pk).update(
        state=State.STORING, lease_token=lease, lease_until=Now() + timedelta(minutes=1)
    )

    erasure.request(alice)
    go_on()

    assert Erasure.objects.get().waits_for == ["jobs", "held credits"]
    assert ledger.balance(alice.pk).balance == 50  # what is free has gone, what is held stays for the job
    assert User.objects.get(pk=alice.pk).email == "alice@example.com"
    Generation.objects.filter(pk=job.pk).update(lease_until=Now() - timedelta(minutes=1), deadline_at=Now())
    sweep()
    go_on()
    assert User.objects.get(pk=alice.pk).status == UserStatus.DELETED
    assert ledger.balance(alice.pk).balance == 0
    books.check()


def test_the_rest_of_every_balance_is_posted_as_expired(alice: User) -> None:
    topped_up(alice, 5000)
    fund(alice, 95)

    erased(alice)

    assert set(Wallet.objects.filter(user=alice).values_list("balance", flat=True)) == {0}
    posted = LedgerTransaction.objects.filter(kind="expiry", memo="erasure")
    assert sorted(-entry.amount for row in posted for entry in row.entries.filter(wallet__user=alice)) == [100, 5000]
    books.check()


def test_a_hold_is_waited_for_and_what_it_releases_expires(alice: User) -> None:
    fund(alice, 95)
    key = held(alice, 60)

    erasure.request(alice)
    go_on()

    assert Erasure.objects.get().waits_for == ["held credits"]
    assert ledger.balance(alice.pk).balance == 60
    ledger.release(key=key)
    go_on()
    assert ledger.balance(alice.pk).balance == 0
    assert User.objects.get(pk=alice.pk).status == UserStatus.DELETED
    books.check()


def test_a_debt_stays_in_the_books(alice: User) -> None:
    sale = new_id()
    ledger.grant(user_id=alice.pk, amount=50, category="paid", key=f"s:{sale}", subject=("sale", sale))
    ledger.capture(key=held(alice, 55))
    ledger.claw_back(user_id=alice.pk, amount=50, key="refund:1", subject=("refund", new_id()), source=("sale", sale))

    erased(alice)

    assert Debt.objects.get().remaining == 50
    books.check()


def test_an_open_payment_is_closed_and_late_money_goes_back_in_full(
    alice: User,
    sandbox: RunningSandbox,  # noqa: F811
) -> None:
    payment = start(alice)

    erased(alice)

    payment.refresh_from_db()
    assert payment.state == PaymentState.CANCELED
    pay(sandbox, payment)
    payment = payments.refresh(payment)
    refund = Refund.objects.get()
    assert (refund.amount, refund.origin, payment.granted) == (49_900, "refused", 0)
    assert ledger.balance(alice.pk).balance == 0
    assert not Mail.objects.filter(state="queued").exists()
    books.check()


def test_a_payment_that_was_made_before_is_the_persons_and_expires_with_the_rest(
    alice: User,
    sandbox: RunningSandbox,  # noqa: F811
) -> None:
    payment = start(alice)
    pay(sandbox, payment)  # and nobody has told us yet

    erased(alice)

    payment.refresh_from_db()
    assert payment.granted == 0  # seen only after the account was closed: the money goes back
    assert Refund.objects.get().amount == payment.received
    books.check()


def test_the_same_mailbox_is_free_again_and_has_had_its_grant(alice: User) -> None:
    erased(alice)

    again = make_user("Alice@example.com")

    assert again.pk != alice.pk
    assert ledger.balance(again.pk).balance == 0
    assert SignUpGrant.objects.get(user=again).outcome == "mailbox_used"
    books.check()


def test_gateways_that_are_away_only_delay_it(alice: User, sandbox: RunningSandbox, settings: Any) -> None:  # noqa: F811
    payment = start(alice)
    settings.RAZORPAY_BASE_URL = "http://127.0.0.1:9"

    erased(alice)

    payment.refresh_from_db()
    assert payment.state == PaymentState.CANCELED


@pytest.mark.django_db(transaction=True)
def test_one_that_fails_keeps_no_other(settings: Any) -> None:
    alice, bob = make_user(first_name="Alice"), make_user(first_name="Bob")
    settings.ACCOUNT_ERASED = ["tests.accounts.test_erasure.refuse_alice"]
    erasure.request(alice)
    erasure.request(bob)

    assert go_on() == 2

    assert User.objects.get(pk=alice.pk).status == UserStatus.DELETING
    assert User.objects.get(pk=bob.pk).status == UserStatus.DELETED


def refuse_alice(*, user: User) -> list[str]:
    if user.first_name == "Alice":
        raise RuntimeError("away")
    return []


def test_what_waits_is_looked_at_less_and_less_often(alice: User) -> None:
    held(alice, 5)
    erasure.request(alice)
    waits = []
    for _ in range(12):
        go_on()
        row = Erasure.objects.get()
        waits.append((row.next_at - row.__class__.objects.values_list(Now(), flat=True)[0]).total_seconds())

    assert [*waits[:3], waits[-1]] == pytest.approx([30, 60, 120, 3600], abs=10)


def test_every_path_in_the_settings_is_a_function() -> None:
    assert all(callable(import_string(path)) for path in configured.ACCOUNT_ERASED)


def test_every_table_of_accounts_about_a_person_is_emptied_or_kept_on_purpose() -> None:
    kept = {Erasure, Export}  # exports.forget takes care of its files, too
    about = {
        model
        for model in apps.get_app_config("accounts").get_models()
        if any(field.related_model is User for field in model._meta.get_fields() if field.concrete)
    }

    assert about - kept == {model for model in erasure.PERSONAL if model._meta.app_label == "accounts"}


# --- Several at once, and killed --------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_two_requests_and_two_workers_at_once_erase_once() -> None:
    alice = make_user("alice@example.com")
    fund(alice, 100)

    together(lambda: erasure.request(alice), lambda: erasure.request(alice))
    together(go_on, go_on)
    delivery.deliver_due()
    together(go_on, go_on)

    assert Erasure.objects.get().finished_at is not None
    assert AuditLog.objects.filter(action="user.erased").count() == 1
    assert Mail.objects.filter(name="account-deleted").count() == 1
    assert ledger.balance(alice.pk).balance == 0
    books.check()


@pytest.mark.django_db(transaction=True)
def test_a_payment_that_settles_while_the_account_closes_never_leaves_credits(sandbox: RunningSandbox) -> None:  # noqa: F811
    alice = make_user("alice@example.com")
    payment = start(alice)
    pay(sandbox, payment)

    together(lambda: payments.refresh(payment), lambda: erasure.request(alice), go_on)
    go_on()
    go_on()

    assert User.objects.get(pk=alice.pk).status == UserStatus.DELETED
    assert ledger.balance(alice.pk).balance == 0
    payment = Payment.objects.get()
    assert payment.granted == 100 or Refund.objects.get().amount == payment.received
    books.check()


@pytest.mark.django_db(transaction=True)
def test_a_worker_killed_anywhere_leaves_nothing_undone(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path

    def die_working_at(point: str) -> None:
        Erasure.objects.update(next_at=Now())
        die_at(point, erasure.advance_due)

    alice = make_user("alice@example.com")
    fund(alice, 100)

    die_at("accounts.erasure.requested", lambda: erasure.request(alice))
    assert User.objects.get(pk=alice.pk).status == UserStatus.DELETING
    die_working_at("accounts.erasure.cleared")
    die_working_at("accounts.erasure.anonymising")
    assert User.objects.get(pk=alice.pk).email == "alice@example.com"
    die_working_at("accounts.erasure.anonymised")
    assert User.objects.get(pk=alice.pk).status == UserStatus.DELETED
    delivery.deliver_due()
    die_working_at("accounts.erasure.forgotten")
    go_on()

    assert Erasure.objects.get().finished_at is not None
    assert [message.to for message in post.outbox] == [["alice@example.com"]]
    assert AuditLog.objects.filter(action="user.erased").count() == 1
    assert ledger.balance(alice.pk).balance == 0
    books.check()

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from accounts.models import User
from audit.models import AuditLog
from core import clock
from core.ids import new_id
from notifications import delivery, metrics
from notifications.models import TRANSITIONS, Mail, MailState, Suppression
from notifications.samples import SAMPLES
from notifications.tasks import deliver, purge
from tests.notifications.letters import letter
from tests.people import api, make_user
from tests.ports import free_port
from tests.sandbox.process import RunningSandbox, wait_for

pytestmark = pytest.mark.django_db


def due_again(mail: Mail) -> None:
    Mail.objects.filter(pk=mail.pk).update(next_at=Now())


def actions(mail: Mail) -> list[str]:
    rows = AuditLog.objects.filter(entity_type="mail", entity_id=str(mail.pk)).order_by("id")
    return list(rows.values_list("action", flat=True))


def test_a_queued_mail_arrives_once(smtp: RunningSandbox, alice: User) -> None:
    Mail.objects.all().delete()
    mail = letter(to="reader@example.com", first_name="Zoë")

    deliver()
    deliver()

    (message,) = smtp.messages("reader@example.com")
    headers = {name.lower(): value for name, value in message["headers"]}
    assert message["subject"] == "Welcome to Atelier"
    assert "Welcome, Zoë" in message["text"]
    assert "Welcome, Zoë" in message["html"]
    assert headers["message-id"] == f"<{mail.pk}@example.test>"
    assert headers["auto-submitted"] == "auto-generated"
    assert headers["reply-to"] == "support@example.test"
    mail.refresh_from_db()
    assert (mail.state, mail.attempts, mail.subject) == ("sent", 1, "Welcome to Atelier")
    assert mail.sent_at is not None
    assert mail.lease_token is None
    assert actions(mail) == ["email.sent"]


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_each_mail_arrives(smtp: RunningSandbox, name: str) -> None:
    letter(name, to=f"{name}@example.com")

    deliver()

    (message,) = smtp.messages(f"{name}@example.com")
    assert message["text"]
    assert message["html"]


def test_the_link_that_arrives_verifies(smtp: RunningSandbox) -> None:
    user = make_user("fresh@example.com", verified=False)

    deliver()

    (message,) = smtp.messages("fresh@example.com")
    token = message["text"].split("/verify-email/")[1].split()[0]
    answer = api().post("/api/v1/auth/verify-email", {"token": token})
    assert answer.status_code == 200
    user.refresh_from_db()
    assert user.is_verified


def test_an_unknown_mailbox_is_a_bounce_and_is_not_tried_again(smtp: RunningSandbox) -> None:
    mail, other = letter(to="bounce@example.com"), letter(to="fine@example.com")

    deliver()
    due_again(mail)
    deliver()

    mail.refresh_from_db()
    other.refresh_from_db()
    assert (mail.state, mail.error_code, mail.attempts) == ("bounced", "bounced", 1)
    assert "550" in mail.error
    assert other.state == "sent"
    assert actions(mail) == ["email.failed"]
    assert Suppression.objects.get().email == "bounce@example.com"


def test_try_later_is_tried_later(smtp: RunningSandbox) -> None:
    mail = letter(to="defer@example.com")

    deliver()

    mail.refresh_from_db()
    assert (mail.state, mail.attempts, mail.error_code) == ("queued", 1, "refused")
    assert mail.handed_over_at is None
    deliver()  # not due yet
    assert smtp.messages("defer@example.com") == []
    due_again(mail)
    deliver()
    mail.refresh_from_db()
    assert (mail.state, mail.attempts, mail.error_code) == ("sent", 2, "")
    assert len(smtp.messages("defer@example.com")) == 1


def test_a_refused_message_of_a_busy_server_is_tried_later(smtp: RunningSandbox) -> None:
    smtp.fault("smtp", "503")
    mail = letter()

    deliver()

    mail.refresh_from_db()
    assert (mail.state, mail.error_code) == ("queued", "refused")
    due_again(mail)
    deliver()
    assert len(smtp.messages("reader@example.com")) == 1


# The line is cut before the server has the message, after it, or never: from here it looks the same.
@pytest.mark.parametrize(
    ("mode", "when", "arrived"), [("hang", "before", 0), ("refuse", "before", 0), ("refuse", "after", 1)]
)
def test_a_server_that_goes_silent_with_the_message_is_not_asked_again(
    smtp: RunningSandbox, settings: Settings, mode: str, when: str, arrived: int
) -> None:
    if mode == "hang":
        settings.EMAIL_TIMEOUT = 3  # for the one that is heard, too
    smtp.fault("smtp", mode, when=when)
    mail, other = letter(), letter(to="next@example.com")

    deliver()
    deliver()

    mail.refresh_from_db()
    other.refresh_from_db()
    assert (mail.state, mail.error_code, mail.attempts) == ("failed", "outcome_unknown", 1)
    assert other.state == "sent"
    wait_for(lambda: len(smtp.messages("reader@example.com")) == arrived, "what the server kept")
    assert actions(mail) == ["email.failed"]


def test_a_slow_server_is_waited_for(smtp: RunningSandbox) -> None:
    smtp.fault("smtp", "slow", seconds=1)
    mail = letter()

    deliver()

    mail.refresh_from_db()
    assert mail.state == "sent"


def test_a_server_that_is_down_delays_mail_and_nothing_else(smtp: RunningSandbox, settings: Settings) -> None:
    settings.EMAIL_PORT = free_port()
    mails, began = [letter(), letter(to="second@example.com")], clock.now()

    deliver()

    for mail in mails:
        mail.refresh_from_db()
        assert mail.state == "queued"
    # One refusal is enough to know: the second mail is not tried in the same run.
    assert [mail.attempts for mail in mails] == [1, 0]
    assert mails[0].error_code == "unreachable"
    wait = Mail.objects.filter(pk=mails[0].pk, next_at__gt=began + timedelta(seconds=10))
    assert wait.filter(next_at__lt=Now() + timedelta(seconds=16)).exists()
    settings.EMAIL_PORT = smtp.smtp_port
    due_again(mails[0])
    deliver()
    assert Mail.objects.filter(state="sent").count() == 2
    assert [len(smtp.messages(mail.to)) for mail in mails] == [1, 1]


@pytest.fixture
def mute() -> Iterator[int]:
    """A port that accepts and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_server_that_never_greets_is_given_up_for_now(smtp: RunningSandbox, settings: Settings, mute: int) -> None:
    settings.EMAIL_PORT, settings.EMAIL_TIMEOUT = mute, 1
    mail = letter()

    deliver()

    mail.refresh_from_db()
    assert (mail.state, mail.error_code, mail.handed_over_at) == ("queued", "unreachable", None)


def test_no_request_waits_for_the_mail_server(smtp: RunningSandbox, settings: Settings, mute: int) -> None:
    settings.EMAIL_PORT, settings.EMAIL_TIMEOUT, settings.RATELIMIT_ENABLE = mute, 30, False
    started = time.monotonic()

    answer = api().post("/api/v1/auth/register", {"email": "a@example.com", "password": "correct horse 9 x"})

    assert answer.status_code == 201
    assert time.monotonic() - started < 20


def test_trying_is_bounded_and_its_end_is_seen(smtp: RunningSandbox, settings: Settings) -> None:
    settings.EMAIL_PORT = free_port()
    mail = letter()
    Mail.objects.filter(pk=mail.pk).update(attempts=delivery.MAX_ATTEMPTS - 2)
    deliver()
    mail.refresh_from_db()
    assert mail.state == "queued"
    assert Mail.objects.filter(pk=mail.pk, next_at__lt=Now() + timedelta(hours=2, minutes=1)).exists()
    due_again(mail)

    deliver()
    deliver()

    mail.refresh_from_db()
    assert (mail.state, mail.error_code, mail.attempts) == ("failed", "gave_up", delivery.MAX_ATTEMPTS)
    assert actions(mail) == ["email.failed"]


def test_a_broken_mail_does_not_hold_up_the_others(smtp: RunningSandbox) -> None:
    broken, fine = letter(), letter(to="fine@example.com")
    Mail.objects.filter(pk=broken.pk).update(name="no-such-template")

    deliver()

    broken.refresh_from_db()
    fine.refresh_from_db()
    assert (broken.state, broken.error_code) == ("failed", "not_rendered")
    assert fine.state == "sent"


def test_a_claim_that_lapsed_before_the_hand_over_is_taken_over(smtp: RunningSandbox) -> None:
    mail = letter()
    Mail.objects.filter(pk=mail.pk).update(
        state="sending", lease_token=new_id(), lease_until=Now() - timedelta(seconds=1), attempts=1
    )

    deliver()

    mail.refresh_from_db()
    assert (mail.state, mail.attempts) == ("sent", 2)
    assert len(smtp.messages("reader@example.com")) == 1


def test_a_claim_that_lapsed_after_the_hand_over_is_not_repeated(smtp: RunningSandbox) -> None:
    mail = letter()
    Mail.objects.filter(pk=mail.pk).update(
        state="sending",
        lease_token=new_id(),
        lease_until=Now() - timedelta(seconds=1),
        handed_over_at=Now() - timedelta(minutes=3),
        attempts=1,
    )

    deliver()
    deliver()

    mail.refresh_from_db()
    assert (mail.state, mail.error_code) == ("failed", "outcome_unknown")
    assert smtp.messages("reader@example.com") == []
    assert actions(mail) == ["email.failed"]


def test_a_live_claim_is_left_alone(smtp: RunningSandbox) -> None:
    mail = letter()
    Mail.objects.filter(pk=mail.pk).update(
        state="sending", lease_token=new_id(), lease_until=Now() + timedelta(seconds=30), attempts=1
    )

    deliver()

    mail.refresh_from_db()
    assert mail.state == "sending"
    assert smtp.messages("reader@example.com") == []


def test_a_worker_that_lost_its_claim_hands_nothing_over(smtp: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    mail = letter()
    render = delivery.render

    def slowly(row: Mail) -> Any:
        Mail.objects.filter(pk=row.pk).update(lease_until=Now() - timedelta(seconds=1))
        return render(row)

    monkeypatch.setattr(delivery, "render", slowly)
    deliver()
    monkeypatch.undo()

    assert smtp.messages("reader@example.com") == []
    deliver()
    mail.refresh_from_db()
    assert mail.state == "sent"
    assert len(smtp.messages("reader@example.com")) == 1


def test_a_late_yes_corrects_an_outcome_given_up_as_unknown(
    smtp: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail = letter()

    def swept(name: str) -> None:
        if name == "notifications.accepted":
            Mail.objects.filter(pk=mail.pk).update(lease_until=Now() - timedelta(seconds=1))
            delivery.recover_lapsed()

    monkeypatch.setattr(delivery, "reach", swept)

    deliver()

    mail.refresh_from_db()
    assert (mail.state, mail.error_code) == ("sent", "")
    assert actions(mail) == ["email.failed", "email.sent"]


@pytest.mark.django_db(transaction=True)
def test_many_workers_send_every_mail_once(smtp: RunningSandbox) -> None:
    for number in range(30):
        letter(to=f"crowd{number}@example.com")

    def work() -> None:
        try:
            deliver()
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    deliver()

    assert Mail.objects.filter(state="sent", attempts=1).count() == 30
    assert [len(smtp.messages(f"crowd{number}@example.com")) for number in range(30)] == [1] * 30


def test_one_run_takes_a_bounded_batch_and_asks_for_another(
    smtp: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "BATCH", 3)
    woken: list[str] = []
    monkeypatch.setattr(delivery.jobs, "wake", woken.append)
    for _ in range(5):
        Mail.objects.filter(pk=letter().pk).update(next_at=Now() - timedelta(seconds=1))
    woken.clear()

    deliver()

    assert Mail.objects.filter(state="sent").count() == 3
    assert woken == ["notifications.deliver"]


def test_sending_one_mail_holds_no_transaction_open(smtp: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    letter()
    during: list[bool] = []
    send = delivery.EmailMultiAlternatives.message

    def noted(self: Any, *args: Any, **options: Any) -> Any:
        during.append(len(connection.savepoint_ids) > 0)
        return send(self, *args, **options)

    monkeypatch.setattr(delivery.EmailMultiAlternatives, "message", noted)
    with CaptureQueriesContext(connection) as queries:
        deliver()

    assert during
    assert not any(during)
    assert len(queries) < 12


def test_the_books_of_the_outbox_are_purged_after_ninety_days(smtp: RunningSandbox) -> None:
    old, young, waiting = letter(first_name="Old"), letter(first_name="Young"), letter(first_name="Waiting")
    deliver()
    Mail.objects.filter(pk=waiting.pk).update(state="queued")
    Mail.objects.exclude(pk=young.pk).update(created_at=Now() - timedelta(days=91))

    purge()
    purge()

    for mail in (old, young, waiting):
        mail.refresh_from_db()
    assert (old.context, old.subject, old.state) == ({}, "", "sent")
    assert old.purged_at is not None
    assert young.context == {"first_name": "Young"}
    assert waiting.context == {"first_name": "Waiting"}


def test_the_metrics_tell_states_and_the_oldest_wait() -> None:
    mail = letter()
    Mail.objects.filter(pk=mail.pk).update(next_at=Now() - timedelta(seconds=90))

    found = {family.name: [(s.labels, s.value) for s in family.samples] for family in metrics.families()}

    assert found["emails"] == [({"name": "welcome", "state": "queued"}, 1.0)]
    assert found["emails_lag_seconds"][0][1] == pytest.approx(90, abs=5)


def test_every_state_has_its_ways_out() -> None:
    assert set(TRANSITIONS) == set(MailState)
    assert all(target in TRANSITIONS for targets in TRANSITIONS.values() for target in targets)


def test_without_a_mail_server_in_the_settings_mail_waits(settings: Settings) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
    mail = letter()

    deliver()

    mail.refresh_from_db()
    assert (mail.state, mail.attempts) == ("queued", 0)

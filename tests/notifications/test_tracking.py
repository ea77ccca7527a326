"""What the mail sender tells through its webhook: believed with our secret only, in any order, any number of times."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail as post
from django.db.models.functions import Now
from django.test import Client
from pytest_django import Settings

from accounts import resets
from accounts.models import User
from audit.models import AuditLog
from core.ids import new_id
from inbox import deliveries
from inbox.models import Delivery
from notifications import delivery, outbox
from notifications.models import Mail, MailEvent, Refusal, Suppression
from notifications.samples import SAMPLES
from tests.notifications.letters import letter

pytestmark = pytest.mark.django_db

URL = "/api/v1/webhooks/email"
USER = "sender:" + "x" * 24
AT = datetime(2026, 11, 26, 9, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def sender(settings: Settings) -> None:
    use(settings, "postmark")


def use(settings: Settings, name: str, **keys: str) -> None:
    settings.EMAIL_SENDER, settings.EMAIL_WEBHOOK_SECRET = name, USER
    settings.ANYMAIL = {"WEBHOOK_SECRET": USER, **keys}


def call(body: Any, *, user: str | None = USER) -> int:
    """Post as the sender does; answers the status."""
    headers = {"Authorization": f"Basic {base64.b64encode(user.encode()).decode()}"} if user is not None else {}
    answer = Client().post(URL, json.dumps(body), content_type="application/json", headers=headers)
    return answer.status_code


def tell(*bodies: Any) -> None:
    """Have the bodies taken in and handled, whatever their due time."""
    for body in bodies:
        assert call(body) == 200
        handle()


def handle() -> None:
    Delivery.objects.filter(next_at__isnull=False).update(next_at=Now() - timedelta(seconds=1))
    deliveries.handle_due()


def sent(name: str = "welcome", **options: Any) -> Mail:
    mail = letter(name, **options)
    delivery.deliver_due()
    mail.refresh_from_db()
    assert mail.state == "sent"
    return mail


def about(mail: Mail, kind: str, at: datetime = AT, **more: Any) -> dict[str, Any]:
    """Postmark's words."""
    times = {"Delivery": "DeliveredAt", "Open": "ReceivedAt"}
    return {
        "RecordType": kind,
        "MessageID": str(new_id()),
        "Recipient": mail.to,
        "Email": mail.to,
        "Metadata": {"mail_id": str(mail.pk)},
        times.get(kind, "BouncedAt"): at.isoformat(),
        **more,
    }


def bounce(mail: Mail, kind: str = "HardBounce", **more: Any) -> dict[str, Any]:
    return about(mail, "Bounce", Type=kind, Description="The server said no.", Details="550 5.1.1 no such user", **more)


def complaint(mail: Mail, **more: Any) -> dict[str, Any]:
    return about(mail, "SpamComplaint", Type="SpamComplaint", **more)


def state_of(mail: Mail) -> str:
    mail.refresh_from_db()
    return mail.state


# --- Who is believed --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", [None, "", "sender:wrong", "nobody", USER.upper()])
def test_without_our_secret_nothing_is_stored(user: str | None) -> None:
    mail = sent()

    assert call(bounce(mail), user=user) == 400

    handle()
    assert (state_of(mail), Delivery.objects.count(), Suppression.objects.count()) == ("sent", 0, 0)


@pytest.mark.parametrize(("name", "secret"), [("", USER), ("postmark", ""), ("amazon_ses", USER)])
def test_where_no_sender_or_no_secret_is_set_there_is_no_webhook(settings: Settings, name: str, secret: str) -> None:
    settings.EMAIL_SENDER, settings.EMAIL_WEBHOOK_SECRET = name, secret
    settings.ANYMAIL = {"WEBHOOK_SECRET": secret}

    assert call({"RecordType": "Delivery"}) == 404
    assert call({"RecordType": "Delivery"}, user=None) == 404
    assert not Delivery.objects.exists()


def mailgun(mail: Mail, key: str) -> dict[str, Any]:
    stamp, token = "1764149400", "t" * 50
    signature = hmac.new(key.encode(), f"{stamp}{token}".encode(), hashlib.sha256).hexdigest()
    return {
        "signature": {"timestamp": stamp, "token": token, "signature": signature},
        "event-data": {
            "event": "failed",
            "severity": "permanent",
            "reason": "bounce",
            "timestamp": AT.timestamp(),
            "recipient": mail.to,
            "user-variables": {"mail_id": str(mail.pk)},
            "delivery-status": {"code": 550, "message": "no such user"},
            "message": {"headers": {"message-id": "x@example.test"}},
        },
    }


def test_a_sender_that_signs_has_to(settings: Settings) -> None:
    use(settings, "mailgun", MAILGUN_WEBHOOK_SIGNING_KEY="the key of the sender")
    mail = sent()

    assert call(mailgun(mail, "another key")) == 400
    assert call({"event-data": {}}) == 400
    assert call(mailgun(mail, "the key of the sender"), user="sender:wrong") == 400
    tell(mailgun(mail, "the key of the sender"))

    assert (state_of(mail), Suppression.objects.get().email) == ("bounced", mail.to)


# --- What is told -----------------------------------------------------------------------------------------------------


def test_a_delivered_mail_is_one_and_staff_can_see_when() -> None:
    mail = sent()

    tell(about(mail, "Delivery", Details="250 OK"))

    assert state_of(mail) == "delivered"
    event = mail.events.get()
    assert (event.kind, event.at) == ("delivered", AT)
    assert Delivery.objects.get().state == "processed"
    actions = AuditLog.objects.filter(entity_id=str(mail.pk)).order_by("id").values_list("action", flat=True)
    assert list(actions) == ["email.sent", "email.delivered"]


def test_the_same_event_counts_once_even_in_another_body() -> None:
    mail = sent()
    once, again = bounce(mail), bounce(mail, ServerID=2)

    tell(once, once, again)

    assert (MailEvent.objects.count(), Suppression.objects.count(), Delivery.objects.count()) == (1, 1, 2)
    assert AuditLog.objects.filter(action__in=["email.bounced", "suppression.added"]).count() == 2


@pytest.mark.parametrize(
    ("told", "state"),
    [
        (["deferred", "delivered"], "delivered"),
        (["delivered", "deferred"], "delivered"),
        (["opened", "delivered"], "delivered"),
        (["delivered", "bounced"], "bounced"),
        (["bounced", "delivered"], "bounced"),
        (["complained", "delivered", "bounced"], "complained"),
        (["bounced", "complained"], "complained"),
        (["deferred", "complained"], "complained"),
        (["deferred", "rejected", "delivered"], "failed"),  # the sender never sent it on, and says so
    ],
)
def test_in_any_order_the_most_telling_event_stays(told: list[str], state: str) -> None:
    mail = sent()
    bodies = {
        "deferred": bounce(mail, "Transient"),
        "delivered": about(mail, "Delivery"),
        "opened": about(mail, "Open", FirstOpen=True),
        "bounced": bounce(mail),
        "complained": complaint(mail),
        "rejected": bounce(mail, "Blocked"),
    }

    tell(*(bodies[kind] for kind in told))

    assert state_of(mail) == state
    assert mail.events.count() == len(told)


def test_an_event_that_beats_our_own_commit_waits_for_it() -> None:
    mail = letter()
    Mail.objects.filter(pk=mail.pk).update(state="sending", lease_token=new_id(), lease_until=Now())

    tell(about(mail, "Delivery"))
    assert (state_of(mail), Delivery.objects.get().state) == ("sending", "failed")
    Mail.objects.filter(pk=mail.pk).update(state="sent", lease_token=None, lease_until=None)
    handle()

    assert (state_of(mail), Delivery.objects.get().state) == ("delivered", "processed")


def test_the_word_of_the_sender_settles_an_unknown_outcome() -> None:
    mail = letter()
    Mail.objects.filter(pk=mail.pk).update(state="failed", error_code="outcome_unknown", error="died")

    tell(about(mail, "Delivery"))

    assert (state_of(mail), mail.error_code, mail.sent_at) == ("delivered", "", AT)


def test_a_mail_that_never_left_stays_failed() -> None:
    mail = letter()
    Mail.objects.filter(pk=mail.pk).update(state="failed", error_code="rejected")

    tell(about(mail, "Delivery"))

    assert state_of(mail) == "failed"


def test_what_is_about_no_mail_of_ours_is_tried_for_ten_minutes_and_let_go() -> None:
    stranger = Mail(pk=new_id(), to="stranger@example.com")

    tell(bounce(stranger), about(stranger, "Delivery", Metadata={"mail_id": "no id"}), about(stranger, "Subscription"))

    assert list(Delivery.objects.order_by("created_at").values_list("state", flat=True)) == [
        "failed",
        "failed",
        "ignored",
    ]
    Delivery.objects.update(created_at=Now() - timedelta(minutes=11))
    handle()
    assert set(Delivery.objects.values_list("state", flat=True)) == {"ignored"}
    assert not Suppression.objects.exists()


def test_a_sender_that_gives_no_metadata_back_is_understood_by_its_own_id() -> None:
    mail = sent()
    Mail.objects.filter(pk=mail.pk).update(provider_message_id="0f2b-at-the-sender")

    tell(about(mail, "Delivery", Metadata={}, MessageID="0f2b-at-the-sender"))

    assert state_of(mail) == "delivered"


def sparkpost(mail: Mail, kind: str, **more: Any) -> dict[str, Any]:
    told = {"type": kind, "timestamp": str(int(AT.timestamp())), "raw_rcpt_to": mail.to}
    return {"msys": {"message_event": told | {"rcpt_meta": {"mail_id": str(mail.pk)}} | more}}


def test_a_list_of_events_is_taken_apart(settings: Settings) -> None:
    use(settings, "sparkpost")
    mails = [sent(to=f"{number}@example.com") for number in range(3)]
    first, second, third = mails

    tell(
        [
            sparkpost(first, "delivery"),
            sparkpost(second, "bounce", bounce_class="10"),
            sparkpost(second, "injection"),
            sparkpost(third, "bounce", bounce_class="22"),
        ]
    )

    assert [state_of(mail) for mail in mails] == ["delivered", "bounced", "bounced"]
    assert Suppression.objects.get().email == second.to


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("postmark", lambda mail: bounce(mail, "SoftBounce")),
        ("mailjet", lambda mail: {"event": "bounce", "error": "quota exceeded", "hard_bounce": False, "time": 1}),
        ("brevo", lambda mail: {"event": "soft_bounce", "ts_epoch": 1000}),
        ("postmark", lambda mail: bounce(mail) | {"Details": "552 5.2.2 Mailbox full"}),
    ],
)
def test_a_bounce_that_may_pass_suppresses_nobody(settings: Settings, name: str, body: Any) -> None:
    use(settings, name)
    mail = sent()
    told = body(mail) | {
        "email": mail.to,
        "message-id": "<m@example.test>",
        "MessageID": 77,
        "Payload": json.dumps({"mail_id": str(mail.pk)}),
        "X-Mailin-custom": json.dumps({"mail_id": str(mail.pk)}),
    }

    tell(told)

    assert state_of(mail) == "bounced"
    assert not Suppression.objects.exists()


def test_unsubscribing_at_the_sender_is_unsubscribing_here(alice: User) -> None:
    mail = outbox.enqueue("credit-low-warning", user=alice, cause="low", context={"remaining": "12 credits"})
    assert mail
    delivery.deliver_due()

    tell(
        about(
            mail, "SubscriptionChange", SuppressSending=True, SuppressionReason="ManualSuppression", ChangedAt=str(AT)
        )
    )

    assert list(Refusal.objects.values_list("user", "name")) == [(alice.pk, "credit-low-warning")]


def test_an_event_about_an_erased_person_suppresses_nobody() -> None:
    mail = sent()
    Mail.objects.filter(pk=mail.pk).update(to=f"{new_id()}@{outbox.NOBODY}")

    tell(bounce(mail), complaint(mail))

    assert (state_of(mail), Suppression.objects.count()) == ("complained", 0)


@pytest.mark.parametrize("body", [[1], [{}], {"RecordType": {}}, {"Metadata": []}, {"RecordType": "Inbound"}, [[[]]]])
def test_a_body_that_makes_no_sense_harms_nothing(settings: Settings, body: Any) -> None:
    for name in ("postmark", "sparkpost"):
        use(settings, name)
        assert call(body) in (200, 400)
        handle()

    assert set(Delivery.objects.values_list("state", flat=True)) <= {"failed", "ignored", "dead"}


# --- Nothing more is sent there ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("body", "code"), [(bounce, "address_bounced"), (complaint, "address_complained")])
def test_a_suppressed_address_gets_what_keeps_the_account_its_owners_and_nothing_else(body: Any, code: str) -> None:
    tell(body(sent()))
    post.outbox.clear()

    mails = {name: letter(name, cause=name) for name in SAMPLES}
    delivery.deliver_due()
    delivery.deliver_due()

    gone = {name for name, mail in mails.items() if state_of(mail) == "sent"}
    assert gone == {
        *("verify-email", "confirm-email", "email-changed", "password-reset", "password-changed", "mfa-changed"),
        "account-deleted",
    }
    assert len(post.outbox) == len(gone)
    held = [mail for name, mail in mails.items() if name not in gone]
    assert {(mail.state, mail.error_code) for mail in held} == {("suppressed", code)}
    other = letter(to="other@example.com")
    delivery.deliver_due()
    assert state_of(other) == "sent"


def test_a_late_bounce_of_what_was_sent_again_stops_the_second_one(support: User) -> None:
    first = sent()
    again = outbox.resend(first, actor=support, reason="They wrote that nothing came.")

    tell(bounce(first))
    delivery.deliver_due()

    assert (state_of(first), state_of(again), again.error_code) == ("bounced", "suppressed", "address_bounced")


def test_one_may_still_ask_for_a_password(alice: User) -> None:
    mail = outbox.enqueue("welcome", user=alice, cause="w", context={})
    assert mail
    delivery.deliver_due()
    tell(complaint(mail))
    post.outbox.clear()

    resets.ask(email=alice.email)
    resets.mail_due()
    delivery.deliver_due()

    assert [message.subject for message in post.outbox] == ["Choose a new password for Atelier"]


def test_erasure_forgets_the_suppression_and_what_servers_said(alice: User) -> None:
    mail = outbox.enqueue("welcome", user=alice, cause="w", context={})
    assert mail
    typed = outbox.enqueue("confirm-email", user=alice, to="victim@example.com", cause="c", context={"change_id": "1"})
    assert typed
    delivery.deliver_due()
    tell(bounce(mail))
    victim = sent(to="victim@example.com")
    tell(complaint(victim))

    outbox.forget(alice.pk)

    assert list(Suppression.objects.values_list("email", flat=True)) == ["victim@example.com"]
    assert set(MailEvent.objects.filter(mail=mail).values_list("words", flat=True)) == {""}

"""The outbox in the ops console."""

from __future__ import annotations

from typing import Any

import pytest
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse

from accounts.models import User
from audit.models import AuditLog
from core.errors import Conflict
from notifications import delivery, mails, outbox
from notifications.models import Mail, MailEvent, Suppression
from notifications.rendering import HIDDEN
from notifications.samples import SAMPLES
from tests.notifications.letters import letter
from tests.people import PASSWORD, make_user, verification_token

pytestmark = pytest.mark.django_db


@pytest.fixture
def console() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("boss@example.test", PASSWORD))
    return client


def pages(mail: Mail) -> tuple[str, str]:
    return (
        reverse("admin:notifications_mail_change", args=[mail.pk]),
        reverse("admin:notifications_mail_preview", args=[mail.pk]),
    )


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_each_mail_can_be_looked_at(console: Client, name: str) -> None:
    page, frame = pages(letter(name))

    shown, html = console.get(page), console.get(frame)

    assert shown.status_code == html.status_code == 200
    assert f'src="{frame}" sandbox' in shown.content.decode()
    assert html.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert "sandbox" in html.headers["Content-Security-Policy"]
    assert "</html>" in html.content.decode()


def test_no_link_that_verifies_is_shown(console: Client) -> None:
    user = make_user(verified=False)
    mail = Mail.objects.get(user=user, name="verify-email")

    text = "".join(console.get(page).content.decode() for page in pages(mail))

    assert verification_token(user) not in text
    assert HIDDEN in text


def test_hostile_text_is_shown_as_text(console: Client) -> None:
    page, frame = pages(letter(first_name="<script>alert(1)</script>"))

    assert "<script>alert" not in console.get(page).content.decode()
    assert "<script>alert" not in console.get(frame).content.decode()


def test_a_purged_mail_has_no_body_to_show(console: Client) -> None:
    mail = letter()
    Mail.objects.filter(pk=mail.pk).update(purged_at=Now(), context={})
    page, frame = pages(mail)

    assert "Forgotten after 90 days" in console.get(page).content.decode()
    assert console.get(frame).status_code == 404


def test_the_outbox_is_read_only(console: Client) -> None:
    mail = letter()
    page, _ = pages(mail)

    assert console.post(page, {"to": "eve@example.com"}).status_code == 403
    assert console.post(reverse("admin:notifications_mail_delete", args=[mail.pk]), {"post": "yes"}).status_code == 403
    assert console.get(reverse("admin:notifications_mail_add")).status_code == 403
    mail.refresh_from_db()
    assert mail.to == "reader@example.com"


def test_the_list_finds_by_address_and_cause(console: Client) -> None:
    letter(to="one@example.com", cause="payment:1:paid")
    letter(to="two@example.com", cause="payment:2:paid")

    for query in ("one@example.com", "payment:1:paid"):
        text = console.get(reverse("admin:notifications_mail_changelist"), {"q": query}).content.decode()
        assert "one@example.com" in text
        assert "two@example.com" not in text


def test_the_list_costs_the_same_for_few_and_for_many(console: Client, django_assert_max_num_queries: Any) -> None:
    for _ in range(30):
        letter()

    with django_assert_max_num_queries(8):
        assert console.get(reverse("admin:notifications_mail_changelist")).status_code == 200


def newcomer() -> User:
    """Staff whom nobody has put in a group yet."""
    return User.objects.create_user("newcomer@example.test", is_staff=True)


def test_strangers_and_staff_without_the_right_see_nothing(alice: User) -> None:
    mail = letter()

    for user, codes in ((None, {302}), (alice, {302}), (newcomer(), {302, 403, 404})):
        client = Client()
        if user:
            client.force_login(user)
        assert {client.get(page).status_code for page in pages(mail)} <= codes


# --- Dead letters -----------------------------------------------------------------------------------------------------


def fail(mail: Mail, state: str = "failed", code: str = "gave_up") -> Mail:
    Mail.objects.filter(pk=mail.pk).update(state=state, error_code=code)
    mail.refresh_from_db()
    return mail


def press(client: Client, button: str, pk: object, **form: str) -> Any:
    return client.post(reverse(f"admin:{button}", args=[pk]), {"reason": "To see.", "_form_submitted": "True", **form})


def test_a_dead_letter_is_listed_sent_again_once_and_then_gone_from_the_list(support: User) -> None:
    client = Client()
    client.force_login(support)
    mail = fail(letter("payment-confirmation", to="one@example.com"))
    letter(to="fine@example.com")
    dead = f"{reverse('admin:notifications_mail_changelist')}?dead=1"
    listed = client.get(dead).content.decode()
    assert "one@example.com" in listed
    assert "fine@example.com" not in listed

    press(client, "notifications_mail_resend", mail.pk)
    press(client, "notifications_mail_resend", mail.pk)

    again = Mail.objects.get(resends=mail)
    assert (again.name, again.to, again.context, again.state) == (mail.name, mail.to, mail.context, "queued")
    client.get(pages(mail)[0])  # says what was done
    assert "one@example.com" not in client.get(dead).content.decode()
    row = AuditLog.objects.get(action="email.resent")
    assert (row.actor_id, row.metadata["reason"], row.entity_id) == (support.pk, "To see.", str(mail.pk))
    delivery.deliver_due()
    again.refresh_from_db()
    assert again.state == "sent"
    assert str(mail.pk) in client.get(pages(again)[0]).content.decode()


def test_what_becomes_of_what_was_sent_again_is_on_record_as_of_staff_for_its_reader(
    support: User, alice: User
) -> None:
    client = Client(headers={"x-request-id": "asked-in-the-console"})
    client.force_login(support)
    mails = []
    for cause in ("one", "many", "nobody"):
        mail = outbox.enqueue("welcome", user=alice, to=alice.email, cause=cause, context={})
        assert mail
        mails.append(mail)
    for mail in mails[:2]:
        fail(mail)

    press(client, "notifications_mail_resend", mails[0].pk)
    send_again(client, mails[1], **SURE)
    delivery.deliver_due()

    again = [str(pk) for pk in Mail.objects.filter(resends__isnull=False).values_list("pk", flat=True)]
    sent = AuditLog.objects.filter(action="email.sent")
    told = [(row.actor_id, row.on_behalf_of_id, row.request_id) for row in sent.filter(entity_id__in=again)]
    assert told == [(support.pk, alice.pk, "asked-in-the-console")] * 2
    by_itself = sent.get(entity_id=str(mails[2].pk))
    assert (by_itself.actor_id, by_itself.on_behalf_of_id) == (None, None)


def test_it_goes_to_where_its_reader_is_now_but_a_farewell_to_the_former_mailbox(alice: User, support: User) -> None:
    sent = {}
    for name in ("welcome", "email-changed"):
        mail = outbox.enqueue(name, user=alice, to="old@example.com", cause=name, context=SAMPLES[name])
        assert mail
        sent[name] = outbox.resend(fail(mail, "bounced"), actor=support, reason="Asked for.").to

    assert sent == {"welcome": "alice@example.com", "email-changed": "old@example.com"}


@pytest.mark.parametrize(
    ("name", "now"),
    [
        ("welcome", {"state": "queued"}),
        ("welcome", {"state": "deferred"}),
        ("welcome", {"state": "failed", "purged_at": Now()}),
        ("welcome", {"state": "suppressed", "error_code": "withdrawn"}),
        ("password-reset", {"state": "failed"}),
        ("verify-email", {"state": "bounced"}),
    ],
)
def test_what_cannot_be_sent_again_has_no_button_and_is_refused(
    console: Client, support: User, name: str, now: dict[str, Any]
) -> None:
    mail = letter(name)
    Mail.objects.filter(pk=mail.pk).update(**now)

    assert "notifications_mail_resend" not in console.get(pages(mail)[0]).content.decode()
    assert press(console, "notifications_mail_resend", mail.pk).status_code == 200
    with pytest.raises(Conflict):
        outbox.resend(mail, actor=support, reason="Please.")
    assert not Mail.objects.filter(resends=mail).exists()


def test_the_page_shows_what_the_sender_told(console: Client) -> None:
    mail = letter()
    MailEvent.objects.create(mail=mail, kind="bounced", at=Now(), words="<b>no</b> such user")

    text = console.get(pages(mail)[0]).content.decode()

    assert "&lt;b&gt;no&lt;/b&gt; such user" in text


def send_again(client: Client, *mails: Mail, **form: str) -> Any:
    chosen = {"action": "resend_dead", "_selected_action": [str(mail.pk) for mail in mails]}
    return client.post(reverse("admin:notifications_mail_changelist"), chosen | form)


SURE = {"reason": "The server was away.", "_form_submitted": "True"}


def test_many_dead_letters_are_sent_again_at_once_and_once(support: User, alice: User, bob: User) -> None:
    client = Client()
    client.force_login(support)
    dead = [letter("payment-confirmation", to="one@example.com")]
    for user in (alice, bob):
        mail = outbox.enqueue("welcome", user=user, to="old@example.com", cause=f"w:{user.pk}", context={})
        assert mail
        dead.append(mail)
    for mail in dead:
        fail(mail)
    link = fail(letter("password-reset"))
    broken = fail(letter())
    Mail.objects.filter(pk=broken.pk).update(context={"former": "key"})
    waits = letter()
    Suppression.objects.create(email=alice.email, reason="staff")
    chosen = [*dead, link, broken, waits]

    asked = send_again(client, *chosen).content.decode()
    assert "<li>1 payment-confirmation" in asked
    assert "<li>2 welcome" in asked
    assert "1 left out: Its link works once" in asked
    assert "1 left out: What it said fits its template no more." in asked
    assert [asked.count(f'value="{mail.pk}"') for mail in chosen] == [1, 1, 1, 0, 0, 0]
    assert "This field is required" in send_again(client, *chosen, **SURE | {"reason": " "}).content.decode()
    assert not Mail.objects.filter(resends__isnull=False).exists()
    for _ in range(2):
        assert send_again(client, *chosen, **SURE).status_code == 302

    again = {mail.resends_id: mail for mail in Mail.objects.filter(resends__isnull=False)}
    assert set(again) == {mail.pk for mail in dead}
    assert [again[mail.pk].to for mail in dead] == ["one@example.com", alice.email, bob.email]
    told = {
        (row.entity_id, row.actor_id, row.on_behalf_of_id, row.metadata["as"], row.metadata["reason"], row.source)
        for row in AuditLog.objects.filter(action="email.resent")
    }
    assert told == {
        (str(mail.pk), support.pk, mail.user_id, str(again[mail.pk].pk), "The server was away.", "ADMIN")
        for mail in dead
    }
    assert AuditLog.objects.filter(action="email.resent").count() == 3
    delivery.deliver_due()
    states = dict(Mail.objects.filter(resends__isnull=False).values_list("resends_id", "state"))
    assert [states[mail.pk] for mail in dead] == ["sent", "suppressed", "sent"]


def test_how_many_go_at_once_is_limited_and_costs_no_more_for_many(
    support: User, monkeypatch: pytest.MonkeyPatch, django_assert_max_num_queries: Any
) -> None:
    monkeypatch.setattr(outbox, "MANY", 20)
    client = Client()
    client.force_login(support)
    mails = [fail(letter()) for _ in range(30)]

    with django_assert_max_num_queries(18):
        assert send_again(client, mails[0], select_across="1", **SURE).status_code == 302
    assert set(Mail.objects.filter(resends__isnull=False).values_list("resends", flat=True)) == {
        mail.pk for mail in mails[:20]
    }
    assert outbox.resend_dead([mail.pk for mail in mails], actor=support, reason="All.") == 0
    send_again(client, *mails, **SURE)

    assert Mail.objects.filter(resends__isnull=False).count() == 30


# --- Suppressed addresses ---------------------------------------------------------------------------------------------


def test_staff_suppress_an_address_and_lift_it_again(support: User) -> None:
    client = Client()
    client.force_login(support)
    add = reverse("admin:notifications_suppression_add")
    assert client.get(add).status_code == 200

    for _ in range(2):
        client.post(add, {"email": "Reader@Example.com", "words": "They asked us by post."})
    mail = letter()
    delivery.deliver_due()

    row = Suppression.objects.get()
    assert (row.email, row.reason, row.words) == ("reader@example.com", "staff", "They asked us by post.")
    mail.refresh_from_db()
    assert (mail.state, mail.error_code) == ("suppressed", "address_staff")
    page = reverse("admin:notifications_suppression_change", args=[row.pk])
    assert client.post(page, {"email": "eve@example.com"}).status_code == 403
    assert client.get(page).status_code == 200
    lifted = press(client, "notifications_suppression_lift", row.pk)
    assert lifted.headers["Location"] == reverse("admin:notifications_suppression_changelist")
    press(client, "notifications_suppression_lift", row.pk)
    assert not Suppression.objects.exists()
    actions = AuditLog.objects.filter(entity_type="suppression").order_by("id").values_list("action", "actor_id")
    assert list(actions) == [("suppression.added", support.pk), ("suppression.lifted", support.pk)]
    again = letter()
    delivery.deliver_due()
    again.refresh_from_db()
    assert again.state == "sent"


def test_an_address_that_is_none_is_refused(console: Client) -> None:
    answer = console.post(reverse("admin:notifications_suppression_add"), {"email": "nobody", "words": "x"})

    assert answer.status_code == 200
    assert not Suppression.objects.exists()


# --- Templates with examples in them ----------------------------------------------------------------------------------

TEMPLATES = "/admin/notifications/mail/samples/"


def test_each_template_is_shown_with_an_example_and_no_secret(console: Client) -> None:
    assert set(SAMPLES) == set(mails.TEMPLATES)
    for name in SAMPLES:
        page = console.get(f"{TEMPLATES}?name={name}")
        frame = console.get(reverse("admin:notifications_mail_sample", args=[name]))

        assert (page.status_code, frame.status_code) == (200, 200), name
        assert f"/samples/{name}/?language=en" in page.content.decode()
        assert "sandbox" in frame.headers["Content-Security-Policy"]
        html = frame.content.decode()
        assert (HIDDEN in html) is bool(mails.TEMPLATES[name].made or name in mails.OPTIONAL), name
    assert console.get(reverse("admin:notifications_mail_sample", args=["no-such"])).status_code == 404
    assert console.get(f"{TEMPLATES}?name=../../etc&language=<script>").status_code == 200
    assert not Mail.objects.exists()


def test_staff_send_themselves_a_test_and_nobody_else(support: User) -> None:
    client = Client()
    client.force_login(support)

    answer = client.post(f"{TEMPLATES}?name=refund", {"to": "eve@example.com"})

    assert answer.status_code == 302
    mail = Mail.objects.get()
    assert (mail.name, mail.to, mail.user_id) == ("refund", support.email, support.pk)
    delivery.deliver_due()
    mail.refresh_from_db()
    assert mail.state == "sent"
    row = AuditLog.objects.get(action="email.tried")
    assert (row.actor_id, row.source) == (support.pk, "ADMIN")


def test_who_may_only_look_sends_nothing(finance: User) -> None:
    for user, codes in ((finance, (200, 403)), (newcomer(), (403, 403))):
        client = Client()
        client.force_login(user)
        assert client.get(TEMPLATES).status_code == codes[0]
        assert ("Send me a test" in client.get(TEMPLATES).content.decode()) is False
        assert client.post(f"{TEMPLATES}?name=refund").status_code == codes[1]
    assert not Mail.objects.exists()

"""The outbox in the ops console."""

from __future__ import annotations

from typing import Any

import pytest
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse

from accounts.models import User
from notifications.models import Mail
from notifications.rendering import HIDDEN
from tests.notifications.letters import EXAMPLES, letter
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


@pytest.mark.parametrize("name", sorted(EXAMPLES))
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

    with django_assert_max_num_queries(6):
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

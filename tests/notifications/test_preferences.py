"""Declining mails: over the API, by the link in the mail, by the mail provider's button."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.core import mail as post
from django.test import Client

from accounts.models import User
from notifications import delivery, outbox, preferences
from notifications.mails import OPTIONAL, TEMPLATES
from notifications.models import Mail, Refusal
from notifications.rendering import HIDDEN, preview
from notifications.samples import SAMPLES
from tests.people import api

pytestmark = pytest.mark.django_db

URL = "/api/v1/users/me/notifications"
ALL = {name.replace("-", "_"): True for name in OPTIONAL}


@pytest.fixture(autouse=True)
def unlimited(settings: Any) -> None:
    settings.RATELIMIT_ENABLE = False


def warn(user: User, cause: str = "low") -> Mail:
    mail = outbox.enqueue("credit-low-warning", user=user, cause=cause, context={"remaining": "12 credits"})
    assert mail is not None
    return mail


def state_of(mail: Mail) -> str:
    return Mail.objects.values_list("state", flat=True).get(pk=mail.pk)


def path_of(link: str) -> str:
    found = re.search(r"https?://[^/]+(/unsubscribe/[^>\s\"]+)", link)
    assert found
    return found[1]


def test_everything_is_wanted_until_somebody_says_no(alice: User, bob: User, django_assert_num_queries: Any) -> None:
    client = api(alice)
    with django_assert_num_queries(2):
        assert client.get(URL).json() == ALL

    answer = client.patch(URL, {"credit_low_warning": False, "call_summary": False})

    assert (answer.status_code, answer.json()) == (200, ALL | {"credit_low_warning": False, "call_summary": False})
    assert client.patch(URL, {"call_summary": True}).json() == ALL | {"credit_low_warning": False}
    assert client.get(URL).json() == ALL | {"credit_low_warning": False}
    assert api(bob).get(URL).json() == ALL


@pytest.mark.parametrize(
    "body", [{"welcome": False}, {"payment_confirmation": False}, {"call_summary": "no"}, {"call_summary": None}]
)
def test_what_cannot_be_declined_is_refused_and_changes_nothing(alice: User, body: dict[str, Any]) -> None:
    answer = api(alice).patch(URL, body | {"credit_low_warning": False})

    assert answer.status_code == 400
    assert not Refusal.objects.exists()


def test_a_mail_declined_after_it_was_queued_does_not_leave(alice: User) -> None:
    delivery.deliver_due()
    sent = len(post.outbox)
    mail = warn(alice)
    api(alice).patch(URL, {"credit_low_warning": False})

    delivery.deliver_due()

    assert (state_of(mail), len(post.outbox)) == ("suppressed", sent)


def test_the_mail_carries_the_link_and_one_press_ends_it(alice: User) -> None:
    warn(alice)
    delivery.deliver_due()
    message = post.outbox[-1]
    assert message.extra_headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    path = path_of(message.extra_headers["List-Unsubscribe"])
    assert path in message.body
    assert path in message.alternatives[0][0]  # type: ignore[attr-defined]

    looked = Client().get(path)
    assert (looked.status_code, Refusal.objects.count()) == (200, 0)
    assert "Unsubscribe</button>" in looked.content.decode()
    assert looked["Referrer-Policy"] == "no-referrer"
    pressed = Client(enforce_csrf_checks=True).post(path, {"List-Unsubscribe": "One-Click"})
    again = Client().post(path)

    assert (pressed.status_code, again.status_code) == (200, 200)
    assert "no more mails about credits running low" in pressed.content.decode()
    assert api(alice).get(URL).json()["credit_low_warning"] is False
    mail = warn(alice, "low again")
    delivery.deliver_due()
    assert state_of(mail) == "suppressed"


# A mail that may be declined, or is money's or the account's own business: whoever adds one decides.
DECLINABLE = {"credit-low-warning", "subscription-expiring", "call-summary", "generation-completed"}


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_each_mail_that_may_be_declined_can_be_with_one_press_and_no_other(
    alice: User, name: str, settings: Any
) -> None:
    settings.MAIL_SECRETS = {}  # the rows behind their links are not here
    Mail.objects.all().delete()
    outbox.enqueue(name, user=alice, cause="one", context=SAMPLES[name])

    delivery.deliver_due()

    message = post.outbox[-1]
    headers = message.extra_headers
    if name not in DECLINABLE:
        assert not headers.keys() & {"List-Unsubscribe", "List-Unsubscribe-Post"}
        return
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    path = path_of(headers["List-Unsubscribe"])
    assert path in message.body
    assert Client(enforce_csrf_checks=True).post(path, {"List-Unsubscribe": "One-Click"}).status_code == 200
    assert [kind for kind, is_wanted in preferences.wanted(alice).items() if not is_wanted] == [name]
    again = outbox.enqueue(name, user=alice, cause="two", context=SAMPLES[name])
    assert again is not None
    delivery.deliver_due()
    assert state_of(again) == "suppressed"


def test_what_may_be_declined_is_what_we_promise() -> None:
    assert OPTIONAL.keys() == DECLINABLE


def test_mails_about_money_and_the_account_have_no_such_link(alice: User) -> None:
    delivery.deliver_due()

    assert post.outbox
    assert not [message for message in post.outbox if "List-Unsubscribe" in message.extra_headers]
    assert "nsubscribe" not in str(post.outbox[0].message())


@pytest.mark.parametrize("token", ["x", "e30:1u:abc", "", "x" * 5000])
def test_a_link_that_is_not_ours_does_nothing(token: str) -> None:
    assert [Client().get(f"/unsubscribe/{token}").status_code, Client().post(f"/unsubscribe/{token}").status_code] == [
        404,
        404,
    ]
    assert not Refusal.objects.exists()


def test_a_link_for_one_kind_or_person_is_none_for_another(alice: User, bob: User) -> None:
    token = preferences.token_of(alice.pk, "call-summary")
    forged = preferences.token_of(alice.pk, "welcome")

    Client().post(f"/unsubscribe/{token}")

    assert list(Refusal.objects.values_list("user", "name")) == [(alice.pk, "call-summary")]
    assert Client().post(f"/unsubscribe/{forged}").status_code == 404


def test_staff_do_not_see_the_link(alice: User) -> None:
    shown = preview(warn(alice))

    assert HIDDEN in shown.html
    assert "/unsubscribe/" not in shown.html + shown.text

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from django.core.checks import run_checks
from pytest_django import Settings

from notifications import mails
from notifications.models import Mail
from notifications.rendering import HIDDEN, preview, render
from tests.notifications.letters import EXAMPLES

NAMES = sorted(EXAMPLES)
HOSTILE = '<script>alert(1)</script>\r\nBcc: eve@example.com {{ product }} & "quotes"'


def mail(name: str, /, **context: Any) -> Mail:
    return Mail(name=name, to="reader@example.com", context=EXAMPLES[name] | context)


@pytest.mark.parametrize("name", NAMES)
def test_each_mail_has_a_subject_a_text_and_an_html_part(name: str) -> None:
    rendered = render(mail(name))

    assert 5 < len(rendered.subject) < 80
    assert "\n" not in rendered.subject
    for part in (rendered.text, rendered.html):
        assert "support@example.test" in part
        assert "{{" not in part
        assert "{%" not in part
        assert "None" not in part
    for value in EXAMPLES[name].values():
        if not mails.TEMPLATES[name].made:
            assert str(value) in rendered.html
            assert str(value) in rendered.text


FAREWELLS = {"account-deleted"}  # there is nothing left to open


@pytest.mark.parametrize("name", NAMES)
def test_styles_are_inlined_and_nothing_is_loaded_from_elsewhere(name: str) -> None:
    html = render(mail(name)).html

    has_button = re.search(r'<td class="button-cell"[^>]*style="[^"]*background-color: ?#4f46e5', html)
    assert bool(has_button) is (name not in FAREWELLS)
    assert html.count("<style") == 1
    assert "prefers-color-scheme: dark" in html
    assert "max-width: 520px" in html
    assert not re.search(r"<(img|script|link|iframe|object)\b|url\(|@import", html)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("welcome", "first_name"),
        ("payment-failed", "reason"),
        ("headshot-generated", "name"),
        ("headshot-failed", "name"),
        ("headshot-failed", "reason"),
        ("payment-confirmation", "amount"),
    ],
)
def test_what_people_typed_is_text_and_never_markup_or_a_header(name: str, field: str) -> None:
    rendered = render(mail(name, **{field: HOSTILE}))

    assert "<script" not in rendered.html
    assert "&lt;script&gt;" in rendered.html
    assert "\n" not in rendered.subject
    assert "\r" not in rendered.subject
    assert "{{ product }}" in rendered.text
    assert '& "quotes"' in rendered.text


def test_a_hostile_link_stays_inside_its_attribute() -> None:
    link = 'https://x.example/"><script>alert(1)</script>'

    tags = Tags()
    tags.feed(render(mail("headshot-generated", link=link)).html)

    assert "script" not in {name for name, _ in tags.seen}
    assert ("a", link) in tags.seen


class Tags(HTMLParser):
    """Which tags a reader of HTML finds, with where they lead."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs).get("href")))


def test_no_mail_to_an_unproved_mailbox_repeats_what_somebody_typed() -> None:
    with pytest.raises(ValueError, match="does not know"):
        mails.check("verify-email", EXAMPLES["verify-email"] | {"first_name": "Visit evil.example"})


def test_staff_see_the_mail_without_its_secret() -> None:
    sent, shown = render(mail("verify-email")), preview(mail("verify-email"))

    token = re.search(r"/verify-email/([\w-]{43})", sent.text)
    assert token is not None
    assert token[1] not in shown.text + shown.html
    assert HIDDEN in shown.html


def test_links_go_to_the_client_app_when_there_is_one(settings: Settings) -> None:
    settings.FRONTEND_URL = "https://app.example.com"

    assert "https://app.example.com/credits" in render(mail("credit-low-warning")).text
    assert "https://app.example.com/dashboard" in render(mail("headshot-failed")).text
    settings.FRONTEND_URL, settings.PUBLIC_URL = "", "https://api.example.com"
    assert "https://api.example.com\n" in render(mail("credit-low-warning")).text


def test_the_product_is_called_as_the_sender_is(settings: Settings) -> None:
    settings.DEFAULT_FROM_EMAIL = "ReAlign <hello@realign.example>"

    assert render(mail("welcome")).subject == "Welcome to ReAlign"


def test_a_missing_template_or_secret_maker_is_found_at_boot(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [found.id for found in run_checks(tags=["notifications"])] == []
    monkeypatch.setitem(mails.TEMPLATES, "unwritten", mails.Template())
    settings.MAIL_SECRETS = {}

    ids = [found.id for found in run_checks(tags=["notifications"])]

    assert ids == ["notifications.E002"] * 4 + ["notifications.E001"] * 3

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from django.core import mail as post
from django.core.checks import run_checks
from django.utils import translation
from pytest_django import Settings

from accounts.models import User
from notifications import delivery, mails, outbox
from notifications.models import Mail
from notifications.rendering import HIDDEN, preview, render
from notifications.samples import SAMPLES
from notifications.templatetags.mails import day, moment, translated

NAMES = sorted(SAMPLES)
HOSTILE = '<script>alert(1)</script>\r\nBcc: eve@example.com {{ product }} & "quotes"'


def mail(name: str, /, **context: Any) -> Mail:
    return Mail(name=name, to="reader@example.com", context=SAMPLES[name] | context)


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
    for key, value in SAMPLES[name].items():
        if not mails.TEMPLATES[name].made:
            said = moment(value) if key == "at" else day(str(value))
            assert said in rendered.html
            assert said in " ".join(rendered.text.split())


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
        mails.check("verify-email", SAMPLES["verify-email"] | {"first_name": "Visit evil.example"})


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


# --- In the reader's language -----------------------------------------------------------------------------------------

TEMPLATE_FILES = sorted(Path("templates/email").rglob("*.*"))
TRANSLATED = r"\{% blocktranslate.*?%\}.*?\{% endblocktranslate %\}"


@pytest.mark.parametrize("path", TEMPLATE_FILES, ids=lambda path: "/".join(path.parts[-2:]))
def test_no_words_of_a_template_escape_translation(path: Path) -> None:
    text = re.sub(r"<style.*?</style>", "", path.read_text(), flags=re.S)

    for known in (TRANSLATED, r"\{%.*?%\}", r"\{\{.*?\}\}", r"<[^>]*>"):
        text = re.sub(known, "", text, flags=re.S)

    assert not re.search(r"\w", text), text.strip()
    assert not re.search(r'\{% include [^%]*(label|name)="', path.read_text())


def test_sentences_that_come_as_data_are_marked_where_they_stand() -> None:
    marked = {"You canceled it.": "store/telling.py", "picture": "generation/engine/finish.py"}
    marked |= {"the way they came": "billing/telling.py"}

    for sentence, path in marked.items():
        assert f'gettext_noop("{sentence}")' in Path(path).read_text()


def catalogue(folder: Path, **sentences: str) -> None:
    """A compiled catalogue, as msgfmt would write it."""
    texts = sorted({"": "Content-Type: text/plain; charset=UTF-8\n", **sentences}.items())
    at, table, strings = 28 + 16 * len(texts), b"", b""
    for column in (0, 1):
        for text in texts:
            encoded = text[column].encode()
            table += struct.pack("<II", len(encoded), at + len(strings))
            strings += encoded + b"\0"
    folder.mkdir(parents=True)
    header = struct.pack("<7I", 0x950412DE, 0, len(texts), 28, 28 + 8 * len(texts), 0, 0)
    (folder / "django.mo").write_bytes(header + table + strings)


@pytest.fixture
def languages(settings: Settings, tmp_path: Path) -> Iterator[None]:
    """German and Arabic as far as these tests need them."""
    german = {
        "Your %(plan)s plan ends on %(period_end)s": "Dein Tarif %(plan)s endet am %(period_end)s",
        "Keep your plan": "Tarif behalten",
        "It was not paid in time.": "Sie wurde nicht rechtzeitig bezahlt.",
    }
    catalogue(tmp_path / "de" / "LC_MESSAGES", **german)
    catalogue(tmp_path / "ar" / "LC_MESSAGES", **{"Your headshot is ready": "صورتك جاهزة"})
    settings.LOCALE_PATHS = [tmp_path]
    settings.LANGUAGES = [("en", "English"), ("de", "German"), ("ar", "Arabic")]
    yield
    translation.trans_real._translations.clear()


@pytest.mark.parametrize(
    ("locale", "subject", "language"),
    [
        ("de-AT", "Dein Tarif Pro endet am 21 Dezember 2026", "de"),
        ("de", "Dein Tarif Pro endet am 21 Dezember 2026", "de"),
        ("", "Your Pro plan ends on 21 December 2026", "en"),
        ("fr-CA", "Your Pro plan ends on 21 December 2026", "en"),
        ("zh-Hant-TW", "Your Pro plan ends on 21 December 2026", "en"),
    ],
)
def test_a_mail_speaks_its_readers_language_where_there_is_a_catalogue(
    languages: None, locale: str, subject: str, language: str
) -> None:
    letter = mail("subscription-expiring")
    letter.user = User(locale=locale)

    rendered = render(letter)

    assert rendered.subject == subject
    assert f'<html lang="{language}" dir="ltr">' in rendered.html
    assert ("Tarif behalten" in rendered.html) is (language == "de")
    assert translation.get_language() == "en"


@pytest.mark.django_db
def test_what_is_sent_is_in_the_language_that_its_reader_has_by_then(languages: None, alice: User) -> None:
    outbox.enqueue("subscription-expiring", user=alice, cause="e", context=SAMPLES["subscription-expiring"])
    User.objects.filter(pk=alice.pk).update(locale="de-CH")
    post.outbox.clear()

    delivery.deliver_due()

    (message,) = [found for found in post.outbox if "Pro" in found.subject]
    assert message.subject.startswith("Dein Tarif Pro endet am 21 Dezember 2026")
    assert "Tarif behalten" in message.body
    assert "Tarif behalten" in str(message.alternatives[0][0])


def test_the_language_of_those_who_told_none_is_a_setting(languages: None, settings: Settings) -> None:
    settings.MAIL_LANGUAGE = "de"

    rendered = render(mail("order-canceled"))

    assert "Sie wurde nicht rechtzeitig bezahlt." in rendered.html
    assert "Sie wurde nicht rechtzeitig bezahlt." in " ".join(rendered.text.split())


def test_what_runs_from_right_to_left_is_laid_out_so(languages: None) -> None:
    letter = mail("headshot-generated", name="عمر")
    letter.user = User(locale="ar-EG")

    rendered = render(letter)

    assert rendered.subject == "صورتك جاهزة: عمر"
    assert '<html lang="ar" dir="rtl">' in rendered.html
    assert 'class="content" align="right"' in rendered.html
    assert "text-align: left" in rendered.html


def test_days_and_sentences_that_are_none_stay_as_they_are() -> None:
    assert [day("2026-11-21"), day("soon"), day("")] == ["21 November 2026", "soon", ""]
    assert moment("2026-11-21T12:15+02:00") == "21 November 2026, 10:15 UTC"
    assert [translated(""), translated("50% of %s")] == ["", "50% of %s"]

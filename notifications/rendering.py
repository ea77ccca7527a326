"""From a row of the outbox to a message in its reader's language: subject, text, HTML with its styles inlined."""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parseaddr
from functools import lru_cache
from typing import Any

import css_inline
from django.conf import settings
from django.template.defaultfilters import wordwrap
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.module_loading import import_string

from notifications import preferences
from notifications.mails import OPTIONAL, TEMPLATES
from notifications.models import Mail

HIDDEN = "https://hidden.invalid/"  # stands for a secret where staff look at a mail


@dataclass(frozen=True, slots=True)
class Rendered:
    subject: str
    text: str
    html: str
    unsubscribe_link: str = ""


def product_name() -> str:
    """What we call ourselves: the display name of DEFAULT_FROM_EMAIL."""
    return parseaddr(settings.DEFAULT_FROM_EMAIL)[0] or "Atelier"


def render(mail: Mail) -> Rendered:
    """The message as it leaves, secrets included."""
    maker = settings.MAIL_SECRETS.get(mail.name)
    secrets = import_string(maker)(mail) if maker else {}
    return _render(mail, secrets, _unsubscribe_link(mail))


def preview(mail: Mail, *, language: str = "") -> Rendered:
    """The message as staff may see it: in its reader's language, or another."""
    secrets = dict.fromkeys(TEMPLATES[mail.name].made, HIDDEN)
    return _render(mail, secrets, HIDDEN if mail.name in OPTIONAL else "", language=language)


def language_of(user: Any) -> str:
    """The language of a person's mails: the nearest to their locale that there is a catalogue for."""
    try:
        return translation.get_supported_language_variant(getattr(user, "locale", "") or settings.MAIL_LANGUAGE)
    except LookupError:
        return str(settings.MAIL_LANGUAGE)


def _unsubscribe_link(mail: Mail) -> str:
    return preferences.link(mail.user_id, mail.name) if mail.user_id and mail.name in OPTIONAL else ""


def _render(mail: Mail, secrets: dict[str, str], unsubscribe_link: str, *, language: str = "") -> Rendered:
    with translation.override(language or language_of(mail.user)):
        return _in_language(mail.name, mail.context, secrets, unsubscribe_link)


def _in_language(name: str, context: dict[str, Any], secrets: dict[str, str], unsubscribe_link: str) -> Rendered:
    home = settings.FRONTEND_URL or settings.PUBLIC_URL
    runs_left = translation.get_language_bidi()
    values = {
        "language": translation.get_language(),
        "direction": "rtl" if runs_left else "ltr",
        "start": "right" if runs_left else "left",
        "end": "left" if runs_left else "right",
        "product": product_name(),
        "home_link": home,
        "dashboard_link": f"{settings.FRONTEND_URL}/dashboard" if settings.FRONTEND_URL else home,
        "buy_link": f"{settings.FRONTEND_URL}/credits" if settings.FRONTEND_URL else home,
        "console_link": f"{settings.PUBLIC_URL}/admin/",
        "support_email": settings.SUPPORT_EMAIL,
        "unsubscribe_link": unsubscribe_link,
        **context,
        **secrets,
    }
    # A line break in a subject would start another header.
    subject = " ".join(render_to_string(f"email/{name}/subject.txt", values).split())[:255]
    return Rendered(
        subject=subject,
        text=wordwrap(render_to_string(f"email/{name}/body.txt", values).strip(), 76) + "\n",
        html=_inliner().inline(render_to_string(f"email/{name}/body.html", values | {"subject": subject})),
        unsubscribe_link=unsubscribe_link,
    )


@lru_cache(maxsize=1)
def _inliner() -> css_inline.CSSInliner:
    return css_inline.CSSInliner(load_remote_stylesheets=False)

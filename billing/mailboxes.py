"""Which mailbox an address reaches, so that one person with many spellings is one person."""

from __future__ import annotations

import hashlib
import hmac

from django.conf import settings

# Providers that deliver every spelling to one mailbox: whether dots in the name are ignored, and what starts a tag.
_DOTLESS = {"gmail.com"}
_TAG = {
    "gmail.com": "+",
    "outlook.com": "+",
    "hotmail.com": "+",
    "live.com": "+",
    "msn.com": "+",
    "icloud.com": "+",
    "me.com": "+",
    "mac.com": "+",
    "proton.me": "+",
    "protonmail.com": "+",
    "pm.me": "+",
    "fastmail.com": "+",
    "fastmail.fm": "+",
    "zoho.com": "+",
    "yandex.com": "+",
    "yandex.ru": "+",
    "mailbox.org": "+",
    "posteo.de": "+",
    "gmx.com": "+",
    "gmx.de": "+",
    "gmx.net": "+",
    "web.de": "+",
    "yahoo.com": "-",
}
_ALIASES = {
    "googlemail.com": "gmail.com",
    "me.com": "icloud.com",
    "mac.com": "icloud.com",
    "protonmail.com": "proton.me",
    "pm.me": "proton.me",
    "yandex.ru": "yandex.com",
    "ya.ru": "yandex.com",
}


def normalise(email: str) -> str:
    """The one spelling of the mailbox behind an address: case folded and, at providers known to ignore them, without
    dots and tags. Never sent to; addresses stay as people write them.
    """
    name, _, domain = email.strip().casefold().rpartition("@")
    domain = domain.rstrip(".")
    domain = _ALIASES.get(domain, domain)
    tag = _TAG.get(domain)
    if tag and not name.startswith(tag):
        name = name.split(tag, 1)[0]
    if domain in _DOTLESS:
        name = name.replace(".", "")
    return f"{name}@{domain}"


def keyed_hash(text: str) -> bytes:
    """HMAC-SHA256 under MAILBOX_HASH_KEY, which is never rotated: what was given stays known after erasure."""
    return hmac.digest(settings.MAILBOX_HASH_KEY.encode(), text.encode(), hashlib.sha256)

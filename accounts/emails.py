"""The one spelling under which a mailbox is stored and looked up."""

from __future__ import annotations

import re
import unicodedata

_HOST = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")


def fold(email: str) -> str:
    """Fold an address: NFKC, case-folded, the domain in its ASCII (IDNA) form.

    Raises: ValueError when there is no local part, no domain, or the domain is not encodable or no host's name: what
        looks like one letter to a validator may fold into an @ or a comma, and lead to a second address.
    Source: the database folds nothing, because its `lower()` depends on the server's collation.
    """
    given_local, at, given_domain = email.strip().rpartition("@")
    local, domain = (unicodedata.normalize("NFKC", part).casefold() for part in (given_local, given_domain))
    if not at or not local or not domain or "@" in local or not local.isprintable():
        raise ValueError("not an e-mail address")
    try:
        ascii_domain = domain.rstrip(".").encode("idna").decode("ascii")
    except UnicodeError as error:
        raise ValueError("not an e-mail address") from error
    if not _HOST.fullmatch(ascii_domain):
        raise ValueError("not an e-mail address")
    return f"{local}@{ascii_domain}"

"""The one spelling under which a mailbox is stored and looked up."""

from __future__ import annotations

import unicodedata


def fold(email: str) -> str:
    """Fold an address: NFKC, case-folded, the domain in its ASCII (IDNA) form.

    Raises: ValueError when there is no local part, no domain, or the domain is not encodable.
    Source: the database folds nothing, because its `lower()` depends on the server's collation.
    """
    local, at, domain = unicodedata.normalize("NFKC", email.strip()).casefold().rpartition("@")
    if not at or not local or not domain:
        raise ValueError("not an e-mail address")
    try:
        ascii_domain = domain.rstrip(".").encode("idna").decode("ascii")
    except UnicodeError as error:
        raise ValueError("not an e-mail address") from error
    return f"{local}@{ascii_domain}"

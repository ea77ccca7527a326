from __future__ import annotations

import pytest

from accounts.emails import fold


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("Alice@Example.COM", "alice@example.com"),
        ("  alice@example.com ", "alice@example.com"),
        ("\uff41lice@example.com", "alice@example.com"),
        ("alice@BÜCHER.example", "alice@xn--bcher-kva.example"),
        ("alice@xn--bcher-kva.example", "alice@xn--bcher-kva.example"),
        ("alice@example.com.", "alice@example.com"),
        ("a.l+x@example.com", "a.l+x@example.com"),
    ],
)
def test_one_mailbox_has_one_spelling(typed: str, stored: str) -> None:
    assert fold(typed) == stored
    assert fold(stored) == stored


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "alice",
        "@example.com",
        "alice@",
        f"a@{'x' * 80}.com",
        "a@exa..mple.com",
        "a@exa\uff20mple.com",
        "a@exa\uff0cb.com",
        "a@exa\u3000mple.com",
        "a\uff20b@example.com",
        "a@[127.0.0.1]",
        "a\nb@example.com",
        "a@-example.com",
    ],
)
def test_what_is_no_address_is_refused(typed: str) -> None:
    with pytest.raises(ValueError, match="not an e-mail address"):
        fold(typed)

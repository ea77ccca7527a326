"""Text as people type it, wherever it comes from."""

from __future__ import annotations

import unicodedata

# They reorder the text around them too, in whatever page shows it, and no keyboard types them. Joiners stay: Persian,
# Hindi and families of emoji need them, and so do the marks that only say which way a neighbour runs.
REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def clean_text(value: str, *, has_lines: bool = True) -> str:
    """NFC; refuses control characters, but for line breaks and tabs where the text has lines, and bidi overrides.

    Raises: ValueError.
    """
    value = unicodedata.normalize("NFC", value)
    if not has_lines and len(value.splitlines()) > 1:
        raise ValueError("Line breaks are not allowed.")
    allowed = "\n\r\t" if has_lines else ""
    if any(unicodedata.category(c) in ("Cc", "Cs") and c not in allowed for c in value):
        raise ValueError("Control characters are not allowed.")
    if not REORDERING.isdisjoint(value):
        raise ValueError("Characters that reorder the text around them are not allowed.")
    return value


def cell(text: str) -> str:
    """A cell that no spreadsheet runs: what begins like a formula gets an apostrophe before it."""
    return f"'{text}" if text.startswith(_FORMULA) else text

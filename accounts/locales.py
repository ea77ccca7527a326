"""Language tags."""

from __future__ import annotations

import re

MAX_LENGTH = 35

# Source: RFC 5646, section 2.1; what was grandfathered is left out.
_TAG = re.compile(
    r"(?:[a-z]{2,3}(?:-[a-z]{3}){0,3}|[a-z]{4,8})"
    r"(?:-[a-z]{4})?"  # script
    r"(?:-(?:[a-z]{2}|[0-9]{3}))?"  # region
    r"(?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*"  # variants
    r"(?:-[a-wyz0-9](?:-[a-z0-9]{2,8})+)*"  # extensions
    r"(?:-x(?:-[a-z0-9]{1,8})+)?",
    re.ASCII,
)


def canonical(tag: str) -> str:
    """A well-formed BCP 47 tag in its usual case: `EN-in` is `en-IN`, `zh-hant` is `zh-Hant`.

    Raises: ValueError for anything else, a variant or an extension named twice included.
    """
    lower = tag.lower()
    if len(tag) > MAX_LENGTH or not _TAG.fullmatch(lower):
        raise ValueError("not a language tag")
    first, *rest = lower.split("-")
    shown, is_extended = [first], False
    for part in rest:
        is_extended = is_extended or len(part) == 1
        is_variant = not is_extended and (len(part) > 4 or (part[0].isdigit() and len(part) == 4))
        if (is_variant or len(part) == 1) and part in shown and "x" not in shown:
            raise ValueError("a part of the language tag comes twice")
        if not is_extended and len(part) == 2:
            part = part.upper()
        elif not is_extended and len(part) == 4 and part.isalpha():
            part = part.title()
        shown.append(part)
    return "-".join(shown)

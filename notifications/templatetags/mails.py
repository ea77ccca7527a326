"""How mails say days, and sentences that reached them as data, in their reader's language."""

from __future__ import annotations

from datetime import UTC, datetime

from django import template
from django.utils import formats, translation

register = template.Library()


@register.filter
def day(value: str) -> str:
    """A day from ISO 8601; what is none stays as it is."""
    return _shown(value, "j F Y")


@register.filter
def moment(value: str) -> str:
    """A minute from ISO 8601, in UTC; what is none stays as it is."""
    return _shown(value, "j F Y, H:i \\U\\T\\C")


@register.filter
def translated(value: str) -> str:
    """A sentence of ours that came with the mail's context, where callers marked it for translation."""
    return translation.gettext(value) if value else ""


def _shown(value: str, pattern: str) -> str:
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return value
    return formats.date_format(at.astimezone(UTC) if at.tzinfo else at, pattern)

"""What AUTH_PASSWORD_VALIDATORS adds to Django's own."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from django.contrib.auth.password_validation import CommonPasswordValidator
from django.core.exceptions import ValidationError

from accounts.passwords import MAX_LENGTH

# A year, a few digits, an exclamation mark: what people add to a refused password, and guessers try next.
MAX_ADDED = 4
_MIMICS = str.maketrans("@4310$57!", "aaeiossti")


class MaximumLengthValidator:
    """A longer one would only make the hash a burden."""

    def validate(self, password: str, user: Any = None) -> None:
        if len(password) > MAX_LENGTH:
            raise ValidationError(self.get_help_text(), code="password_too_long")

    def get_help_text(self) -> str:
        return f"Your password must have at most {MAX_LENGTH} characters."


class LeakedPasswordValidator:
    """Refuses what leaks hold most often, also with a few digits or signs around it, or in place of letters."""

    def validate(self, password: str, user: Any = None) -> None:
        if not leaked().isdisjoint(readings(password)):
            raise ValidationError(self.get_help_text(), code="password_too_common")

    def get_help_text(self) -> str:
        return "Your password must not be on lists of leaked ones."


@lru_cache(maxsize=1)
def leaked() -> frozenset[str]:
    """The bundled lists, Django's and zxcvbn's, in small letters. Measured: 15 MB and 0.2 s, once a process."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # only whoever checks a password pays for it

    return frozenset(CommonPasswordValidator().passwords) | frozenset(FREQUENCY_LISTS["passwords"])


def readings(password: str) -> Iterator[str]:
    """As which words a guesser's rules would find the password."""
    word = password.casefold()
    for before in range(MAX_ADDED + 1):
        for behind in range(MAX_ADDED + 1 - before):
            end = len(word) - behind
            if not any(letter.isalpha() for letter in word[:before] + word[end:]):
                core = word[before:end]
                yield core
                yield core.translate(_MIMICS)

"""Which passwords are taken, and that somebody knows theirs."""

from __future__ import annotations

import structlog
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from accounts.errors import PasswordWrong
from accounts.hashers import normalise
from accounts.models import User
from core.errors import Invalid, detail

security = structlog.get_logger("security")

MIN_LENGTH = 8
MAX_LENGTH = 128  # more would only make the hash a burden


# One sentence each; Django's own are two, or say less.
_SENTENCES = {
    "password_too_short": f"Use at least {MIN_LENGTH} characters.",
    "password_too_long": f"Use at most {MAX_LENGTH} characters.",
    "password_too_common": "This password is on lists of leaked ones, with or without a few digits; choose another.",
    "password_entirely_numeric": "Use more than digits.",
}


def check(password: str, user: User, *, field: str = "password") -> None:
    """Ask the validators of AUTH_PASSWORD_VALIDATORS about a password for this person.

    Raises: Invalid with one detail per reason.
    """
    try:
        validate_password(normalise(password), user)
    except ValidationError as error:
        raise Invalid(
            details=[
                detail(code, _SENTENCES.get(code, " ".join(reason.messages)), field)
                for reason in error.error_list
                for code in [reason.code or "invalid"]
            ]
        ) from error


def confirm(user: User, password: str) -> None:
    """Make sure that whoever asks for something sensitive knows the person's password.

    Raises: PasswordWrong.
    """
    if not user.check_password(password):
        security.warning("password_confirmed", outcome="password_wrong", user=str(user.pk))
        raise PasswordWrong

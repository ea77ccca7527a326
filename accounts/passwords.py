"""Which passwords are taken, and that somebody knows theirs."""

from __future__ import annotations

import structlog
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from accounts.errors import PasswordWrong
from accounts.models import User
from core.errors import Invalid, detail

security = structlog.get_logger("security")

MIN_LENGTH = 8
MAX_LENGTH = 128  # more would only make the hash a burden


def check(password: str, user: User) -> None:
    """Ask the validators of AUTH_PASSWORD_VALIDATORS about a password for this person.

    Raises: Invalid with one detail per reason.
    """
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise Invalid(
            details=[
                detail(reason.code or "invalid", " ".join(reason.messages), "password") for reason in error.error_list
            ]
        ) from error


def confirm(user: User, password: str) -> None:
    """Make sure that whoever asks for something sensitive knows the person's password.

    Raises: PasswordWrong.
    """
    if not user.check_password(password):
        security.warning("password_confirmed", outcome="password_wrong", user=str(user.pk))
        raise PasswordWrong

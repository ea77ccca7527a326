"""Which passwords are taken."""

from __future__ import annotations

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from accounts.models import User
from core.errors import Invalid, detail

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

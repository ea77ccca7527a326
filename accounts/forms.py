"""The ops console's sign-in."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest
from unfold.forms import AuthenticationForm

from accounts import sessions
from accounts.models import User
from core import context, ratelimit
from core.errors import RateLimited, Unavailable


class ConsoleLoginForm(AuthenticationForm):  # type: ignore[misc]
    """Counts failures as the API's sign-in does, so that neither door is a way around the other's limit."""

    request: HttpRequest

    def clean(self) -> dict[str, Any]:
        address = context.current().ip or "unknown"
        try:
            ratelimit.check(self.request, "failed_logins", address, count=False)
        except (RateLimited, Unavailable) as error:
            raise ValidationError(error.message) from error
        try:
            cleaned: dict[str, Any] = super().clean()
        except ValidationError:
            ratelimit.usage(self.request, "failed_logins", address)
            sessions.note_console_login(self.cleaned_data.get("username", ""), None)
            raise
        user = self.get_user()
        assert isinstance(user, User)
        sessions.note_console_login(user.email, user)
        return cleaned

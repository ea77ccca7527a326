"""The ops console's sign-in."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from unfold.forms import AdminOwnPasswordChangeForm, AuthenticationForm
from unfold.widgets import UnfoldAdminTextInputWidget

from accounts import credentials, mfa, sessions
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
        if not mfa.is_asked_of(user):  # who is asked for more has not entered yet
            sessions.note_console_login(user.email, user)
        return cleaned


class ConsolePasswordForm(AdminOwnPasswordChangeForm):  # type: ignore[misc]
    """Changes the password as the API does: counted with its tries, on record, told by mail, the end of all tokens."""

    def __init__(self, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request

    def clean_old_password(self) -> str:
        try:
            ratelimit.check(self.request, "sensitive", str(self.user.pk))
        except (RateLimited, Unavailable) as error:
            raise ValidationError(error.message) from error
        return str(super().clean_old_password())

    def save(self, commit: bool = True) -> User:
        self.user: User = credentials.change_password(
            self.user, current=self.cleaned_data["old_password"], new=self.cleaned_data["new_password1"]
        )
        return self.user


def _code(label: str, help_text: str, **attrs: bool) -> forms.CharField:
    widget = UnfoldAdminTextInputWidget(attrs={"autocomplete": "one-time-code", "spellcheck": "false", **attrs})
    return forms.CharField(max_length=40, label=label, help_text=help_text, widget=widget)


class CodeForm(forms.Form):
    """A proof of the second factor."""

    code = _code("Code", "The six digits that your authenticator app shows, or a recovery code.", autofocus=True)


class EnrolForm(forms.Form):
    """The first code of an app that is being set up, and of who has one already a proof of that."""

    code = _code("Code of the new app", "The six digits that the app shows now.")
    current = _code("Code that works until now", "Of the app you have set up before, or a recovery code.")

    def __init__(self, *args: Any, is_enrolled: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not is_enrolled:
            del self.fields["current"]
            self.fields["code"].label = "Code"

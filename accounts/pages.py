"""The pages that our mails point to when there is no client app.

GET only looks, because mail scanners follow links; the button's POST uses the link up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse

from accounts import credentials, email_changes, links, users
from accounts.errors import EmailTaken, VerificationExpired, VerificationInvalid
from accounts.models import EmailChange, EmailVerification, PasswordReset
from accounts.passwords import MAX_LENGTH, MIN_LENGTH
from core import context, pages, ratelimit
from core.errors import Error, Invalid
from notifications.rendering import product_name


@pages.mailed
def verify_email(request: HttpRequest, token: str) -> HttpResponse:
    """Confirm the address that somebody signed up with."""
    if request.method == "POST":
        return _press(request, "verify-email", ["auth"], lambda: users.verify_email(token=token))
    outcome, link = links.look(EmailVerification, token)
    is_done = link is not None and outcome == "used" and link.user.is_verified
    return _show(request, "verify-email", "done" if is_done else outcome)


@pages.mailed
def confirm_email(request: HttpRequest, token: str) -> HttpResponse:
    """Confirm the address that somebody wants to change to."""
    if request.method == "POST":
        return _press(request, "confirm-email", ["auth"], lambda: email_changes.confirm(token=token))
    outcome, link = links.look(EmailChange, token)
    is_done = link is not None and outcome == "used" and link.user.email == link.email
    return _show(request, "confirm-email", "done" if is_done else outcome, email=link.email if link else "")


@pages.mailed
def reset_password(request: HttpRequest, token: str) -> HttpResponse:
    """Set a new password."""
    outcome, _ = links.look(PasswordReset, token)
    limits = {"min_length": MIN_LENGTH, "max_length": MAX_LENGTH}
    if request.method != "POST":
        return _show(request, "reset-password", outcome, **limits)
    new, again = request.POST.get("new_password", ""), request.POST.get("again", "")
    if new != again and outcome == "ready":
        return _show(request, "reset-password", "ready", 400, problems=["The two entries differ."], **limits)
    return _press(
        request,
        "reset-password",
        ["auth", "sensitive"],
        lambda: credentials.reset_password(token=token, new=new),
        **limits,
    )


def _press(request: HttpRequest, page: str, scopes: list[str], act: Callable[[], object], **shown: Any) -> HttpResponse:
    """Do what the button says, within the same limits as over the API, and show how it went."""
    try:
        for scope in scopes:
            ratelimit.check(request, scope, context.current().ip or "unknown")
        act()
    except VerificationExpired as error:
        return _show(request, page, "expired", error.status)
    except VerificationInvalid as error:
        return _show(request, page, "invalid", error.status)
    except EmailTaken as error:
        return _show(request, page, "taken", error.status)
    except Invalid as error:
        problems = [item["message"] for item in error.details]
        return _show(request, page, "ready", error.status, problems=problems, **shown)
    except Error as error:  # too often, or nobody can count
        response = _show(request, page, "ready", error.status, problems=[error.message], **shown)
        response["Retry-After"] = str(error.retry_after or 60)
        return response
    return _show(request, page, "done", **shown)


def _show(request: HttpRequest, page: str, outcome: str, status: int = 200, **shown: Any) -> HttpResponse:
    values = {"outcome": outcome, "product": product_name(), **shown}
    return pages.show(request, f"site/{page}.html", values, status=status)

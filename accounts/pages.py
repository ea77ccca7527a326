"""The page a verification mail points to when there is no client app."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from accounts import users, verification
from accounts.errors import VerificationExpired, VerificationInvalid
from notifications.rendering import product_name

# The address holds a secret, so it must not travel on as a referrer, and the page loads nothing.
_HEADERS = {
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
}


@csrf_exempt  # whoever can post the token has read the mailbox, and mail apps' own browsers drop cookies
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def verify_email(request: HttpRequest, token: str) -> HttpResponse:
    """GET only looks, because mail scanners follow links; the button's POST uses the link up."""
    status = 200
    if request.method == "POST":
        try:
            users.verify_email(token=token)
            outcome = "done"
        except VerificationExpired:
            outcome, status = "expired", 400
        except VerificationInvalid:
            outcome, status = "invalid", 400
    else:
        outcome = verification.look(token)
    return _page(request, outcome, status)


def _page(request: HttpRequest, outcome: str, status: int) -> HttpResponse:
    response = render(request, "site/verify-email.html", {"outcome": outcome, "product": product_name()}, status=status)
    for name, value in _HEADERS.items():
        response[name] = value
    return response

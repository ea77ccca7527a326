"""Pages whose address is a secret that was mailed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

Page = Callable[..., HttpResponse]

# Whoever holds the address can act, so it must not travel on as a referrer, and the page loads nothing.
_HEADERS = {
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
}


def mailed(view: Page) -> Page:
    """A page that a mail links to. GET only looks, because mail scanners follow links; its POST acts."""
    # Whoever can post the token has read the mailbox, and mail apps' own browsers drop cookies.
    return csrf_exempt(never_cache(require_http_methods(["GET", "HEAD", "POST"])(view)))


def show(request: HttpRequest, template: str, values: dict[str, Any], status: int = 200) -> HttpResponse:
    """The page, with the headers that keep its address to itself."""
    response = render(request, template, values, status=status)
    for name, value in _HEADERS.items():
        response[name] = value
    return response

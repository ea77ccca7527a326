"""The front page, and the studio: a small client of the public API, where there is a sandbox to try it in."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from core import health
from notifications.rendering import product_name


@never_cache
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """What runs here and where its parts are. In production it says no more than whose API this is."""
    shown: dict[str, Any] = {"product": product_name()}
    if not settings.PRODUCTION:
        shown |= {"version": settings.VERSION, "environment": settings.ENVIRONMENT, "health": health.told(request)}
        shown |= {"sandbox": settings.SANDBOX_URL if settings.SANDBOX_ENABLED else ""}
    return render(request, "site/home.html", shown)


@never_cache
@require_safe
def studio(request: HttpRequest) -> HttpResponse:
    """The page alone; all that happens in it is its scripts asking /api/v1."""
    if not settings.SANDBOX_ENABLED:
        raise Http404
    shown = {"product": product_name(), "public_url": settings.PUBLIC_URL, "sandbox": settings.SANDBOX_URL}
    return render(request, "site/studio.html", shown)

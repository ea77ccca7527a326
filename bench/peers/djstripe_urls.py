from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import include, path


def later(trigger: Any, api_key: str | None = None) -> None:
    """The callback of dj-stripe's deferred mode: the event is stored, and somebody else's to process."""


def live(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


urlpatterns = [path("health/live", live), path("stripe/", include("djstripe.urls", namespace="djstripe"))]

"""The invoice's page."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseNotFound
from django.shortcuts import render
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from notifications.rendering import product_name
from store import invoices


@never_cache
@require_safe
def invoice(request: HttpRequest, signed: str) -> HttpResponse:
    """Show what was bought, where it went and what was paid. Three queries."""
    shown = invoices.at(signed)
    if shown is None:
        return HttpResponseNotFound("This invoice link is not valid (any more).", content_type="text/plain")
    return render(request, "site/invoice.html", shown | {"product": product_name()})


urlpatterns = [path("invoices/<str:signed>", invoice, name="invoice")]

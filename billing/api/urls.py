"""Billing's addresses, by area."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [
    path("", include("billing.api.payments.urls")),
    path("", include("billing.api.subscriptions.urls")),
    path("", include("billing.api.wallets.urls")),
]

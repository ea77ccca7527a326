"""credits/* that read, and wallets."""

from __future__ import annotations

from django.urls import path

from billing.api.wallets.views import CreditsViewSet, WalletViewSet

urlpatterns = [
    path("credits/balance", CreditsViewSet.as_view({"get": "balance"}), name="credits-balance"),
    path("credits/history", CreditsViewSet.as_view({"get": "history"}), name="credits-history"),
    path("credits/explain", CreditsViewSet.as_view({"get": "explain"}), name="credits-explain"),
    path("wallets", WalletViewSet.as_view({"get": "list"}), name="wallets"),
    path("wallets/<uuid:pk>", WalletViewSet.as_view({"get": "retrieve"}), name="wallet"),
    path("wallets/<uuid:pk>/entries", WalletViewSet.as_view({"get": "entries"}), name="wallet-entries"),
]

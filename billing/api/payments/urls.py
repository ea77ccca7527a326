"""Catalogue and payments."""

from __future__ import annotations

from django.urls import path

from billing.api.payments.views import CatalogueViewSet, PackageViewSet, PaymentViewSet, PurchaseViewSet

urlpatterns = [
    path("credits/packages", PackageViewSet.as_view({"get": "list"})),
    path("credits/purchase", PurchaseViewSet.as_view({"post": "create"})),
    path("payments/pricing", CatalogueViewSet.as_view({"get": "retrieve"})),
    path("payments", PaymentViewSet.as_view({"get": "list", "post": "create"})),
    path("payments/<uuid:pk>", PaymentViewSet.as_view({"get": "retrieve"}), name="payment"),
    path("payments/<uuid:pk>/verify", PaymentViewSet.as_view({"post": "verify"})),
    path("payments/<uuid:pk>/cancel", PaymentViewSet.as_view({"post": "cancel"})),
]

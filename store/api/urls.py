"""Under /api/v1/."""

from __future__ import annotations

from django.urls import path

from store.api.views import OrderStatusViewSet, OrderViewSet, ProductViewSet

urlpatterns = [
    path("products", ProductViewSet.as_view({"get": "list", "post": "create"}), name="products"),
    path(
        "products/<uuid:pk>",
        ProductViewSet.as_view(
            {"get": "retrieve", "put": "update", "patch": "partial_update", "delete": "destroy"},
        ),
        name="product",
    ),
    path("orders", OrderViewSet.as_view({"get": "list", "post": "create"}), name="orders"),
    path("orders/<uuid:pk>", OrderViewSet.as_view({"get": "retrieve"}), name="order"),
    path("orders/<uuid:pk>/cancel", OrderViewSet.as_view({"post": "cancel"}), name="order-cancel"),
    path("orders/<uuid:pk>/status", OrderStatusViewSet.as_view({"put": "update"}), name="order-status"),
]

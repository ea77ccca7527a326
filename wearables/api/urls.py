"""Under /api/v1/."""

from __future__ import annotations

from django.urls import path

from wearables.api.views import CatalogueViewSet, CategoryViewSet, CustomizationViewSet, SelectionViewSet

urlpatterns = [
    path("wearables", CatalogueViewSet.as_view({"get": "list"}), name="wearables"),
    path("wearables/categories", CategoryViewSet.as_view({"get": "list"}), name="wearable-categories"),
    path("wearables/<uuid:pk>", CatalogueViewSet.as_view({"get": "retrieve"}), name="wearable"),
    path(
        "wearables/selections",
        SelectionViewSet.as_view({"get": "list", "post": "create", "put": "update"}),
        name="selections",
    ),
    path("wearables/selections/<uuid:pk>", SelectionViewSet.as_view({"delete": "destroy"}), name="selection"),
    path(
        "wearables/customizations",
        CustomizationViewSet.as_view({"get": "list", "post": "create"}),
        name="customizations",
    ),
    path(
        "wearables/customizations/<uuid:pk>",
        CustomizationViewSet.as_view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}),
        name="customization",
    ),
]

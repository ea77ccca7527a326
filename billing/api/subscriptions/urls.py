"""Plans and subscriptions."""

from __future__ import annotations

from django.urls import path

from billing.api.subscriptions.views import PlanViewSet, SubscriptionViewSet

urlpatterns = [
    path("subscriptions/plans", PlanViewSet.as_view({"get": "retrieve"})),
    path("subscriptions/current", SubscriptionViewSet.as_view({"get": "current"})),
    path("subscriptions/portal", SubscriptionViewSet.as_view({"post": "portal"})),
    path("subscriptions", SubscriptionViewSet.as_view({"get": "list", "post": "create"})),
    path("subscriptions/<uuid:pk>", SubscriptionViewSet.as_view({"put": "update"}), name="subscription"),
    path("subscriptions/<uuid:pk>/cancel", SubscriptionViewSet.as_view({"post": "cancel"})),
    path("subscriptions/<uuid:pk>/reactivate", SubscriptionViewSet.as_view({"post": "reactivate"})),
]

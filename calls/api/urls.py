"""Under /api/v1/."""

from __future__ import annotations

from django.urls import path

from calls.api.views import CallViewSet

urlpatterns = [
    path("calls", CallViewSet.as_view({"get": "list", "post": "create"}), name="calls"),
    path("calls/<uuid:pk>", CallViewSet.as_view({"get": "retrieve"}), name="call"),
    path("calls/<uuid:pk>/answer", CallViewSet.as_view({"patch": "answer"}), name="call-answer"),
    path("calls/<uuid:pk>/decline", CallViewSet.as_view({"post": "decline"}), name="call-decline"),
    path("calls/<uuid:pk>/end", CallViewSet.as_view({"patch": "end"}), name="call-end"),
    path("calls/<uuid:pk>/heartbeat", CallViewSet.as_view({"post": "heartbeat"}), name="call-heartbeat"),
]

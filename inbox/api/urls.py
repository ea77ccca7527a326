from __future__ import annotations

from django.urls import path

from inbox.api.views import WebhookView

urlpatterns = [path("webhooks/<str:provider>", WebhookView.as_view(), name="webhook")]

"""Our own pages."""

from __future__ import annotations

from django.urls import path

from notifications import pages

urlpatterns = [path("unsubscribe/<str:token>", pages.unsubscribe, name="unsubscribe")]

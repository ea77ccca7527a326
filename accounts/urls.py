"""Our own pages, for installations without a client app."""

from __future__ import annotations

from django.urls import path

from accounts import pages

urlpatterns = [path("verify-email/<str:token>", pages.verify_email, name="verify-email")]

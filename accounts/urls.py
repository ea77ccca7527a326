"""Our own pages, for installations without a client app."""

from __future__ import annotations

from django.urls import path

from accounts import pages

urlpatterns = [
    path("verify-email/<str:token>", pages.verify_email, name="verify-email"),
    path("confirm-email/<str:token>", pages.confirm_email, name="confirm-email"),
    path("reset-password/<str:token>", pages.reset_password, name="reset-password"),
]

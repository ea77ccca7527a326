"""Under /api/v1/."""

from __future__ import annotations

from django.urls import path

from accounts.api.authentication import RefreshTokenCount
from accounts.api.credentials import CredentialsViewSet, SignedInCredentialsViewSet
from accounts.api.exports import ExportViewSet
from accounts.api.me import MeViewSet
from accounts.api.notifications import NotificationViewSet
from accounts.api.views import AuthViewSet, SessionViewSet, SignedInAuthViewSet

urlpatterns = [
    path("auth/register", AuthViewSet.as_view({"post": "register"}), name="auth-register"),
    path("auth/login", AuthViewSet.as_view({"post": "login"}), name="auth-login"),
    path(
        "auth/refresh",
        AuthViewSet.as_view({"post": "refresh"}, authentication_classes=[RefreshTokenCount]),
        name="auth-refresh",
    ),
    path("auth/verify-email", AuthViewSet.as_view({"post": "verify_email"}), name="auth-verify-email"),
    path(
        "auth/forgot-password",
        CredentialsViewSet.as_view({"post": "forgot_password"}),
        name="auth-forgot-password",
    ),
    path("auth/reset-password", CredentialsViewSet.as_view({"post": "reset_password"}), name="auth-reset-password"),
    path("auth/confirm-email", CredentialsViewSet.as_view({"post": "confirm_email"}), name="auth-confirm-email"),
    path(
        "auth/change-password",
        SignedInCredentialsViewSet.as_view({"post": "change_password"}),
        name="auth-change-password",
    ),
    path("auth/change-email", SignedInCredentialsViewSet.as_view({"post": "change_email"}), name="auth-change-email"),
    path("auth/logout", SignedInAuthViewSet.as_view({"post": "logout"}), name="auth-logout"),
    path(
        "auth/resend-verification",
        SignedInAuthViewSet.as_view({"post": "resend_verification"}),
        name="auth-resend-verification",
    ),
    path(
        "users/me",
        MeViewSet.as_view({"get": "retrieve", "put": "update", "patch": "partial_update", "delete": "destroy"}),
        name="users-me",
    ),
    path("users/me/delete", MeViewSet.as_view({"post": "remove"}), name="users-me-delete"),
    path(
        "users/me/notifications",
        NotificationViewSet.as_view({"get": "retrieve", "patch": "partial_update"}),
        name="users-notifications",
    ),
    path("users/me/statistics", MeViewSet.as_view({"get": "statistics"}), name="users-statistics"),
    path("users/me/export", ExportViewSet.as_view({"post": "create", "get": "retrieve"}), name="users-export"),
    path("users/me/sessions", SessionViewSet.as_view({"get": "list", "delete": "destroy_all"}), name="users-sessions"),
    path("users/me/sessions/<uuid:pk>", SessionViewSet.as_view({"delete": "destroy"}), name="users-session"),
]

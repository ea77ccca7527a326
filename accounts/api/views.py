"""auth/* and users/me/sessions."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.db.models.functions import Now
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import errors, sessions, users, verification
from accounts.api import serializers, tokens
from accounts.api.authentication import SignedInRequest
from accounts.models import EndReason, Session
from core import context, ratelimit
from core.api.permissions import IsSignedIn, Public
from core.api.views import ViewSet
from core.errors import (
    Unavailable,
)

TOKEN_ERRORS = [errors.TokenInvalid, errors.TokenExpired, errors.SessionEnded, errors.AccountSuspended]

_REGISTER = OpenApiExample(
    "register",
    value={"email": "alice@example.com", "password": "correct horse battery", "first_name": "Alice"},
    request_only=True,
)
_LOGIN = OpenApiExample(
    "login",
    value={"email": "alice@example.com", "password": "correct horse battery", "remember_me": True},
    request_only=True,
)


def signed_in(session: Session) -> dict[str, Any]:
    """What whoever holds the session is answered: the person and a fresh pair of tokens."""
    return {"user": serializers.UserSerializer(session.user).data, **tokens.pair(session)}


class AuthViewSet(ViewSet):
    """Public: whoever calls these has no token yet, so an old one in the header is not looked at."""

    authentication_classes = []
    permission_classes = [Public]
    pagination_class = None
    errors = {
        "register": [errors.EmailTaken, Unavailable],
        "login": [
            errors.InvalidCredentials,
            errors.OtpRequired,
            errors.OtpInvalid,
            errors.AccountSuspended,
            errors.SessionEnded,
            Unavailable,
        ],
        "refresh": [*TOKEN_ERRORS, errors.RefreshReused, Unavailable],
        "verify_email": [errors.VerificationInvalid, errors.VerificationExpired, Unavailable],
    }
    throttle_scopes = {
        "register": ["auth", "registrations"],
        "login": ["auth"],
        "refresh": ["refresh"],
        "verify_email": ["auth"],
    }

    @extend_schema(
        operation_id="auth_register",
        summary="Register",
        description="Makes a person, signs them in and mails them a link that proves their mailbox.",
        request=serializers.RegisterSerializer,
        responses={201: serializers.SignedInSerializer},
        examples=[_REGISTER],
    )
    def register(self, request: Request) -> Response:
        body = serializers.RegisterSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        session = sessions.sign_up(**body.validated_data)
        return Response(signed_in(session), status=status.HTTP_201_CREATED)

    @extend_schema(
        operation_id="auth_login",
        summary="Sign in",
        description=(
            "`remember_me` keeps the refresh token good for 30 days instead of an hour. Staff send `otp` as well: "
            "without it a right password is answered 401 `otp_required`."
        ),
        request=serializers.LoginSerializer,
        responses={200: serializers.SignedInSerializer},
        examples=[_LOGIN],
    )
    def login(self, request: Request) -> Response:
        body = serializers.LoginSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        address = context.current().ip or "unknown"
        ratelimit.check(request._request, "failed_logins", address, count=False)
        try:
            session = sessions.sign_in(
                email=body.validated_data["email"],
                password=body.validated_data["password"],
                remember=body.validated_data["remember_me"],
                otp=body.validated_data.get("otp", ""),
            )
        except (errors.InvalidCredentials, errors.OtpInvalid):
            ratelimit.usage(request._request, "failed_logins", address)
            raise
        return Response(signed_in(session))

    @extend_schema(
        operation_id="auth_refresh",
        summary="Refresh the tokens",
        description=(
            "Spends the refresh token and answers a new pair. A spent token that comes back ends the whole session; "
            "within ten seconds and from the same user agent it is answered once more, for lost answers."
        ),
        request=serializers.RefreshSerializer,
        responses={200: serializers.SignedInSerializer},
        auth=[],
    )
    def refresh(self, request: Request) -> Response:
        body = serializers.RefreshSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        claims = tokens.read("refresh", body.validated_data["refresh"])
        session = sessions.rotate(
            session_id=claims.session_id,
            user_id=claims.user_id,
            epoch=claims.epoch,
            rotation=claims.rotation,
            expires_at=claims.expires_at,
        )
        return Response(signed_in(session))

    @extend_schema(
        operation_id="auth_verify_email",
        summary="Confirm the e-mail address",
        description="Takes the token of the mailed link, once.",
        request=serializers.VerifyEmailSerializer,
        responses={200: serializers.VerifiedSerializer},
    )
    def verify_email(self, request: Request) -> Response:
        body = serializers.VerifyEmailSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        user = users.verify_email(token=body.validated_data["token"])
        return Response({"user": serializers.UserSerializer(user).data})


class SignedInAuthViewSet(ViewSet):
    permission_classes = [IsSignedIn]
    pagination_class = None
    errors = TOKEN_ERRORS
    throttle_scopes = {"resend_verification": ["auth"]}

    @extend_schema(
        operation_id="auth_logout",
        summary="Sign out",
        description="Ends this session: its access and refresh tokens are refused from now on.",
        request=serializers.EmptySerializer,
        responses={204: OpenApiResponse(description="Signed out.")},
    )
    def logout(self, request: SignedInRequest) -> Response:
        serializers.EmptySerializer(data=request.data).is_valid(raise_exception=True)
        sessions.end(request.auth)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        operation_id="auth_resend_verification",
        summary="Send the verification mail again",
        description="Answers the same whether or not a mail was due: at most one a minute and ten a day are sent.",
        request=serializers.EmptySerializer,
        responses={202: OpenApiResponse(description="A mail is on its way if the address is not confirmed yet.")},
    )
    def resend_verification(self, request: SignedInRequest) -> Response:
        serializers.EmptySerializer(data=request.data).is_valid(raise_exception=True)
        verification.resend(request.user)
        return Response(status=status.HTTP_202_ACCEPTED)


class SessionViewSet(ViewSet):
    permission_classes = [IsSignedIn]
    errors = TOKEN_ERRORS
    serializer_class = serializers.SessionSerializer
    queryset = Session.objects.none()

    def get_queryset(self) -> QuerySet[Session]:
        if not self.request.user.is_authenticated:  # the schema asks as nobody
            return Session.objects.none()
        return Session.objects.filter(user=self.request.user, ended_at__isnull=True, expires_at__gt=Now()).order_by(
            "-created_at"
        )

    @extend_schema(operation_id="users_sessions_list", summary="Where I am signed in")
    def list(self, request: SignedInRequest) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(
        operation_id="users_sessions_destroy_all",
        summary="Sign out everywhere",
        description="Ends every session, this one included.",
        responses={204: OpenApiResponse(description="Signed out everywhere.")},
    )
    def destroy_all(self, request: SignedInRequest) -> Response:
        sessions.end_all(request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        operation_id="users_sessions_destroy",
        summary="Sign out one session",
        responses={204: OpenApiResponse(description="Signed out.")},
    )
    def destroy(self, request: SignedInRequest, pk: str) -> Response:
        sessions.end(self.get_object(), reason=EndReason.REVOKED)
        return Response(status=status.HTTP_204_NO_CONTENT)

"""auth/*: passwords and the address."""

from __future__ import annotations

from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import credentials, email_changes, errors, resets
from accounts.api import serializers
from accounts.api.authentication import SignedInRequest
from accounts.api.views import TOKEN_ERRORS, signed_in
from core.api.permissions import IsSignedIn, Public
from core.api.views import ViewSet
from core.errors import Unavailable

LINK_ERRORS = [errors.VerificationInvalid, errors.VerificationExpired, Unavailable]

_FORGOT = OpenApiExample("forgot", value={"email": "alice@example.com"}, request_only=True)
_RESET = OpenApiExample(
    "reset",
    value={"token": "the last part of the mailed link", "new_password": "staple battery horse"},
    request_only=True,
)
_CONFIRM = OpenApiExample("confirm", value={"token": "the last part of the mailed link"}, request_only=True)
_CHANGE_PASSWORD = OpenApiExample(
    "change the password",
    value={"current_password": "correct horse battery", "new_password": "staple battery horse"},
    request_only=True,
)
_CHANGE_EMAIL = OpenApiExample(
    "change the address",
    value={"password": "correct horse battery", "email": "alice@new.example.com"},
    request_only=True,
)


class CredentialsViewSet(ViewSet):
    """Public: whoever calls these has lost the password, or comes from a mail."""

    authentication_classes = []
    permission_classes = [Public]
    pagination_class = None
    errors = {
        "forgot_password": [Unavailable],
        "reset_password": LINK_ERRORS,
        "confirm_email": [*LINK_ERRORS, errors.EmailTaken],
    }
    throttle_scopes = {
        "forgot_password": ["auth"],
        "reset_password": ["auth", "sensitive"],
        "confirm_email": ["auth"],
    }

    @extend_schema(
        operation_id="auth_forgot_password",
        summary="Ask for a link that sets a new password",
        description=(
            "Answers the same whether or not there is an account. The link works once, within 30 minutes, and only "
            "the newest one; at most one a minute and ten a day are sent."
        ),
        request=serializers.ForgotPasswordSerializer,
        responses={202: OpenApiResponse(description="A mail is on its way if there is such an account.")},
        examples=[_FORGOT],
    )
    def forgot_password(self, request: Request) -> Response:
        body = serializers.ForgotPasswordSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        resets.ask(email=body.validated_data["email"])
        return Response(status=status.HTTP_202_ACCEPTED)

    @extend_schema(
        operation_id="auth_reset_password",
        summary="Set a new password by the mailed link",
        description="Takes the token of the mailed link, once. Every session of the person ends; sign in anew.",
        request=serializers.ResetPasswordSerializer,
        responses={204: OpenApiResponse(description="The new password is set.")},
        examples=[_RESET],
    )
    def reset_password(self, request: Request) -> Response:
        body = serializers.ResetPasswordSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        credentials.reset_password(token=body.validated_data["token"], new=body.validated_data["new_password"])
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        operation_id="auth_confirm_email",
        summary="Confirm the new e-mail address",
        description="Takes the token that was mailed to the new address, once; from then on it is the address.",
        request=serializers.VerifyEmailSerializer,
        responses={200: serializers.VerifiedSerializer},
        examples=[_CONFIRM],
    )
    def confirm_email(self, request: Request) -> Response:
        body = serializers.VerifyEmailSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        user = email_changes.confirm(token=body.validated_data["token"])
        return Response({"user": serializers.UserSerializer(user).data})


class SignedInCredentialsViewSet(ViewSet):
    permission_classes = [IsSignedIn]
    pagination_class = None
    errors = {
        "change_password": [*TOKEN_ERRORS, errors.PasswordWrong, Unavailable],
        "change_email": [*TOKEN_ERRORS, errors.PasswordWrong, errors.EmailTaken, Unavailable],
    }
    throttle_scopes = ["sensitive"]

    @extend_schema(
        operation_id="auth_change_password",
        summary="Change the password",
        description=(
            "Every other session ends, and every token given out so far is refused at once; "
            "this session goes on with the pair that is answered."
        ),
        request=serializers.ChangePasswordSerializer,
        responses={200: serializers.SignedInSerializer},
        examples=[_CHANGE_PASSWORD],
    )
    def change_password(self, request: SignedInRequest) -> Response:
        body = serializers.ChangePasswordSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        request.auth.user = credentials.change_password(
            request.user,
            current=body.validated_data["current_password"],
            new=body.validated_data["new_password"],
            session=request.auth,
        )
        return Response(signed_in(request.auth))

    @extend_schema(
        operation_id="auth_change_email",
        summary="Change the e-mail address",
        description=(
            "Mails a link to the new address; nothing changes until it is used. Then the old address is told. "
            "Asking again withdraws the link sent before."
        ),
        request=serializers.ChangeEmailSerializer,
        responses={202: OpenApiResponse(description="A mail is on its way to the new address.")},
        examples=[_CHANGE_EMAIL],
    )
    def change_email(self, request: SignedInRequest) -> Response:
        body = serializers.ChangeEmailSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        email_changes.ask(request.user, **body.validated_data)
        return Response(status=status.HTTP_202_ACCEPTED)

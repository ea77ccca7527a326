"""users/me: the profile, and leaving."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import status
from rest_framework.response import Response

from accounts import avatars, erasure, errors, passwords, sessions, statistics, users
from accounts.api import serializers
from accounts.api.authentication import SignedInRequest
from accounts.api.views import TOKEN_ERRORS
from accounts.models import UserStatus
from core.api.parsers import JSONParser
from core.api.permissions import IsSignedIn, IsVerified
from core.api.serializers import refuse_fields
from core.api.uploads import AvatarParser
from core.api.views import ViewSet
from core.errors import EmailNotVerified, ImageUnreadable, TooLarge, TooManyPixels, Unavailable, UnsupportedMediaType

PROFILE_ERRORS = [
    *TOKEN_ERRORS,
    errors.UsernameTaken,
    EmailNotVerified,
    UnsupportedMediaType,
    TooLarge,
    TooManyPixels,
    ImageUnreadable,
]
_PROFILE_BODIES = {
    "application/json": serializers.JSONProfileSerializer,
    "multipart/form-data": serializers.FormProfileSerializer,
}
_PROFILE = OpenApiExample(
    "profile",
    value={"first_name": "Alice", "username": "alice", "locale": "en-IN", "currency": "INR", "avatar": None},
    request_only=True,
    media_type="application/json",
)


_DELETE = OpenApiExample("delete", value={"password": "correct horse battery"}, request_only=True)


class MeViewSet(ViewSet):
    """A body with a picture in it is an upload: limited like one, and for those who have verified their mailbox."""

    permission_classes = [IsSignedIn]
    parser_classes = [JSONParser, AvatarParser]
    pagination_class = None
    errors = {
        "retrieve": TOKEN_ERRORS,
        "update": PROFILE_ERRORS,
        "partial_update": PROFILE_ERRORS,
        "statistics": TOKEN_ERRORS,
        "destroy": [*TOKEN_ERRORS, errors.ReauthenticationRequired, errors.StaffAccount, Unavailable],
        "remove": [*TOKEN_ERRORS, errors.PasswordWrong, errors.StaffAccount, Unavailable],
    }

    @property
    def is_upload(self) -> bool:
        kind: str = self.request.content_type if self.request else ""
        return kind.startswith("multipart/")

    @property
    def throttle_scopes(self) -> list[str]:  # type: ignore[override]
        if self.action in ("destroy", "remove"):
            return ["sensitive"]
        return ["uploads"] if self.is_upload else []

    def get_permissions(self) -> list[Any]:
        return [IsVerified()] if self.is_upload else list(super().get_permissions())

    @extend_schema(operation_id="users_me_retrieve", summary="Who am I", responses=serializers.UserSerializer)
    def retrieve(self, request: SignedInRequest) -> Response:
        return Response(serializers.UserSerializer(request.user).data)

    @extend_schema(
        operation_id="users_me_update",
        summary="Change the profile",
        description="The same as PATCH: what is not named stays.",
        request=_PROFILE_BODIES,
        responses=serializers.UserSerializer,
        examples=[_PROFILE],
    )
    def update(self, request: SignedInRequest) -> Response:
        kind = serializers.FormProfileSerializer if self.is_upload else serializers.JSONProfileSerializer
        body = kind(data=request.data)
        body.is_valid(raise_exception=True)
        changes = dict(body.validated_data)
        if "avatar" in changes and changes["avatar"] is not None:
            changes["avatar"] = avatars.take(request.user, changes["avatar"].file)
        user = users.update_profile(request.user, changes)
        return Response(serializers.UserSerializer(user).data)

    @extend_schema(
        operation_id="users_me_partial_update",
        summary="Change the profile",
        description=(
            "What is not named stays. As multipart/form-data it takes a picture too: decoded to prove it, turned "
            "upright, cut square, fitted into 512 by 512 and kept as a JPEG without metadata. `avatar: null` in JSON "
            "removes it."
        ),
        request=_PROFILE_BODIES,
        responses=serializers.UserSerializer,
        examples=[_PROFILE],
    )
    def partial_update(self, request: SignedInRequest) -> Response:
        return self.update(request)

    @extend_schema(
        operation_id="users_statistics",
        summary="My figures",
        description="Jobs, credits and use since I joined and in the last 30 days; deleted jobs count.",
        responses=serializers.StatisticsSerializer,
    )
    def statistics(self, request: SignedInRequest) -> Response:
        return Response(serializers.StatisticsSerializer(statistics.of(request.user)).data)

    @extend_schema(
        operation_id="users_me_destroy",
        summary="Delete my account, signed in a moment ago",
        description="As `POST users/me/delete`, for whoever signed in within the last ten minutes.",
        responses={202: serializers.LeavingSerializer},
    )
    def destroy(self, request: SignedInRequest) -> Response:
        refuse_fields(request.data)
        sessions.require_fresh(request.auth)
        return self._leave(request)

    @extend_schema(
        operation_id="users_me_delete",
        summary="Delete my account",
        description=(
            "Ends every session at once and for good. Open payments are closed, jobs cancelled, photos and outputs "
            "deleted, what is left of the balance expires; then the account is anonymised and a last mail is sent."
        ),
        request=serializers.PasswordSerializer,
        responses={202: serializers.LeavingSerializer},
        examples=[_DELETE],
    )
    def remove(self, request: SignedInRequest) -> Response:
        body = serializers.PasswordSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        passwords.confirm(request.user, body.validated_data["password"])
        return self._leave(request)

    @staticmethod
    def _leave(request: SignedInRequest) -> Response:
        erasure.request(request.user)
        return Response({"status": UserStatus.DELETING}, status=status.HTTP_202_ACCEPTED)

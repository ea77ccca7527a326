"""users/me/notifications"""

from __future__ import annotations

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.response import Response

from accounts.api import serializers
from accounts.api.authentication import SignedInRequest
from accounts.api.views import TOKEN_ERRORS
from core.api.permissions import IsSignedIn
from core.api.views import ViewSet
from notifications import preferences

_CHANGE = OpenApiExample("decline", value={"credit_low_warning": False}, request_only=True)


class NotificationViewSet(ViewSet):
    permission_classes = [IsSignedIn]
    pagination_class = None
    errors = TOKEN_ERRORS

    @extend_schema(
        operation_id="users_notifications_retrieve",
        summary="Which mails I want",
        description="Mails about payments and the account itself cannot be declined, so they are not listed.",
        responses=serializers.NotificationsSerializer,
    )
    def retrieve(self, request: SignedInRequest) -> Response:
        wanted = preferences.wanted(request.user)
        return Response({name.replace("-", "_"): is_wanted for name, is_wanted in wanted.items()})

    @extend_schema(
        operation_id="users_notifications_partial_update",
        summary="Choose which mails I want",
        description="What is not named stays. It counts for mails that have not left yet, too.",
        request=serializers.NotificationsSerializer,
        responses=serializers.NotificationsSerializer,
        examples=[_CHANGE],
    )
    def partial_update(self, request: SignedInRequest) -> Response:
        body = serializers.NotificationsSerializer(data=request.data, partial=True)
        body.is_valid(raise_exception=True)
        preferences.change(
            request.user.pk, {name.replace("_", "-"): is_wanted for name, is_wanted in body.validated_data.items()}
        )
        return self.retrieve(request)

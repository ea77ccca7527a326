"""avatars"""

from __future__ import annotations

from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from billing.errors import DebtOutstanding, InsufficientCredits
from core.api.filters import refuse_unknown
from core.api.idempotency import idempotent
from core.errors import NotFound
from generation import avatar_limit, avatars, errors, queries
from generation.api import avatar_serializers as serializers
from generation.api.filters import AvatarFilter
from generation.api.orders import JobsViewSet, accepted
from generation.api.serializers import JobSerializer
from generation.models import Avatar, AvatarStatus

_ORDER_ERRORS = [
    errors.OperationUnavailable,
    errors.QuoteMismatch,
    errors.QuoteExpired,
    InsufficientCredits,
    DebtOutstanding,
]
_AVATAR = OpenApiExample(
    "avatar",
    value={
        "name": "Mira",
        "description": "A botanist in her forties, silver streak in dark hair, field jacket, calm and curious.",
        "style": "natural light, film grain",
    },
    request_only=True,
)
_EDIT = OpenApiExample("rename", value={"name": "Mira Vale"}, request_only=True)


class AvatarViewSet(JobsViewSet):
    queryset = Avatar.objects.none()
    serializer_class = serializers.AvatarSerializer
    filterset_class = AvatarFilter
    errors = {
        "create": [errors.Moderated, errors.AvatarLimitReached, *_ORDER_ERRORS],
        "update": [errors.Moderated],
        "partial_update": [errors.Moderated],
        "destroy": [errors.TooLateToCancel, errors.CancelLimitReached],
        "regenerate_thumbnail": [NotFound, errors.AvatarNotReady, *_ORDER_ERRORS],
    }
    throttle_scopes = {"create": ["generation"], "regenerate_thumbnail": ["generation"]}

    def get_queryset(self) -> QuerySet[Avatar]:
        return queries.avatars(self.request.user)

    @extend_schema(
        operation_id="avatars_create",
        summary="Make an avatar",
        description=(
            "Holds the price and answers at once; profile and thumbnail are made in the background and the price is "
            "spent when both are stored. Failing that it is released in full, and the avatar shows `failed`: "
            "`generations/{id}/retry` then works on the same avatar. How many one may have depends on the plan."
        ),
        request=serializers.AvatarOrderSerializer,
        responses={202: serializers.AvatarSerializer},
        examples=[_AVATAR],
    )
    @idempotent(required=True)
    def create(self, request: Request) -> Response:
        body = serializers.AvatarOrderSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        quote = body.validated_data.get("quote")
        made = avatars.create(user=request.user, params=body.params(), quote=quote)
        where = {"Location": f"/api/v1/avatars/{made.pk}", "Retry-After": "2"}
        return Response(serializers.AvatarSerializer(made).data, status=status.HTTP_202_ACCEPTED, headers=where)

    @extend_schema(operation_id="avatars_list", summary="My avatars", responses=serializers.AvatarSerializer(many=True))
    def list(self, request: Request) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(serializers.AvatarSerializer(page, many=True).data)

    @extend_schema(
        operation_id="avatars_retrieve",
        summary="An avatar",
        description="While it is being made the answer carries `Retry-After`.",
        responses=serializers.AvatarSerializer,
    )
    def retrieve(self, request: Request, pk: UUID) -> Response:
        avatar = queries.avatar(request.user, pk)
        headers = {"Retry-After": "2"} if avatar.status is AvatarStatus.CREATING else None
        return Response(serializers.AvatarSerializer(avatar).data, headers=headers)

    @extend_schema(
        operation_id="avatars_update",
        summary="Edit an avatar",
        description="The same as PATCH: what is not named stays.",
        request=serializers.AvatarEditSerializer(partial=True),
        responses=serializers.AvatarSerializer,
        examples=[_EDIT],
    )
    def update(self, request: Request, pk: UUID) -> Response:
        body = serializers.AvatarEditSerializer(data=request.data, partial=True)
        body.is_valid(raise_exception=True)
        avatars.edit(user=request.user, avatar_id=pk, changes=body.validated_data)
        return Response(serializers.AvatarSerializer(queries.avatar(request.user, pk)).data)

    @extend_schema(
        operation_id="avatars_partial_update",
        summary="Edit an avatar",
        description="What is not named stays. Its profile, its thumbnail and what it cost stay too.",
        request=serializers.AvatarEditSerializer(partial=True),
        responses=serializers.AvatarSerializer,
        examples=[_EDIT],
    )
    def partial_update(self, request: Request, pk: UUID) -> Response:
        return self.update(request, pk)

    @extend_schema(
        operation_id="avatars_delete",
        summary="Delete an avatar",
        description="What was made with it stays. If it is still being made, that is cancelled first.",
        responses={204: OpenApiResponse(description="Deleted.")},
    )
    def destroy(self, request: Request, pk: UUID) -> Response:
        avatars.delete(user=request.user, avatar_id=pk)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        operation_id="avatars_limit",
        summary="How many avatars I may have",
        responses=serializers.AvatarLimitSerializer,
        filters=False,
    )
    def limit(self, request: Request) -> Response:
        refuse_unknown(request, set())
        return Response(serializers.AvatarLimitSerializer(avatar_limit.of(request.user)).data)

    @extend_schema(
        operation_id="avatars_stats",
        summary="My avatars in figures",
        responses=serializers.AvatarStatsSerializer,
        filters=False,
    )
    def stats(self, request: Request) -> Response:
        refuse_unknown(request, set())
        return Response(serializers.AvatarStatsSerializer(queries.avatar_stats(request.user)).data)

    @extend_schema(
        operation_id="avatars_regenerate_thumbnail",
        summary="Give an avatar another thumbnail",
        description="A job of its own, with its own price. The present thumbnail stays until the new one is stored.",
        request=serializers.ThumbnailOrderSerializer,
        responses={202: JobSerializer},
    )
    @idempotent(required=True)
    def regenerate_thumbnail(self, request: Request, pk: UUID) -> Response:
        body = serializers.ThumbnailOrderSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        quote = body.validated_data.get("quote")
        return accepted(avatars.regenerate_thumbnail(user=request.user, avatar_id=pk, quote=quote))

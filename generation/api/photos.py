"""photos"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from core import storage
from core.api.idempotency import idempotent
from core.api.uploads import PhotoParser
from core.api.views import ViewSet
from core.errors import ImageUnreadable, TooLarge, TooManyPixels, UnsupportedMediaType
from core.idempotency import Claim
from generation import photos, queries
from generation.api import serializers
from generation.models import Photo


class PhotoViewSet(ViewSet):
    queryset = Photo.objects.none()
    parser_classes = [PhotoParser]
    serializer_class = serializers.PhotoSerializer
    errors = {"create": [UnsupportedMediaType, TooLarge, TooManyPixels, ImageUnreadable]}
    throttle_scopes = {"create": ["uploads"]}

    def get_queryset(self) -> QuerySet[Photo]:
        return queries.photos(self.request.user)

    @extend_schema(
        operation_id="photos_create",
        summary="Upload a photo",
        description=(
            "Decoded to prove it, turned upright, brought to sRGB, fitted into 2048 by 2048 and kept as a JPEG without "
            "metadata (no place, no time); the camera's make, model and focal length stay as fields."
        ),
        request={"multipart/form-data": serializers.PhotoUploadSerializer},
        responses={201: serializers.PhotoSerializer},
    )
    @idempotent(resumable=True)
    def create(self, request: Request) -> Response:
        body = serializers.PhotoUploadSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        given = dict(body.validated_data)
        file = given.pop("file")
        claim: Claim | None = request.idempotency  # type: ignore[attr-defined]
        photo = photos.upload(
            user=request.user, file=file.file, filename=file.name, photo_id=claim.id if claim else None, **given
        )
        return Response(
            serializers.PhotoSerializer(photo).data,
            status=status.HTTP_201_CREATED,
            headers={"Location": f"/api/v1/photos/{photo.pk}"},
        )

    @extend_schema(operation_id="photos_list", summary="My photos", responses=serializers.PhotoSerializer(many=True))
    def list(self, request: Request) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(serializers.PhotoSerializer(page, many=True).data)

    @extend_schema(operation_id="photos_retrieve", summary="A photo", responses=serializers.PhotoSerializer)
    def retrieve(self, request: Request, pk: UUID) -> Response:
        return Response(serializers.PhotoSerializer(self.get_object()).data)

    @extend_schema(
        operation_id="photos_delete",
        summary="Delete a photo",
        description="Gone from every list at once; the bytes go when no open job uses them.",
        responses={204: OpenApiResponse(description="Deleted.")},
    )
    def destroy(self, request: Request, pk: UUID) -> Response:
        photos.delete(user=request.user, photo_id=pk)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(operation_id="photos_url", summary="A link to a photo", responses=serializers.LinkSerializer)
    def url(self, request: Request, pk: UUID) -> Response:
        photo: Any = self.get_object()
        return Response({"url": storage.signed_url(photo.file.key), "expires_in": settings.SIGNED_URL_S})

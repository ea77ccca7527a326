"""photos"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from core import storage
from core.api.idempotency import idempotent
from core.api.serializers import refuse_fields
from core.api.uploads import PhotoParser
from core.api.views import ViewSet
from core.errors import Conflict, ImageUnreadable, Invalid, TooLarge, TooManyPixels, UnsupportedMediaType
from core.idempotency import Claim
from generation import photos, queries, uploads
from generation.api import serializers
from generation.errors import UploadIncomplete
from generation.models import Photo, Purpose

_REFUSALS = [UnsupportedMediaType, TooLarge, TooManyPixels, ImageUnreadable]


class PhotoViewSet(ViewSet):
    queryset = Photo.objects.none()
    parser_classes = [PhotoParser]
    serializer_class = serializers.PhotoSerializer
    errors = {"create": _REFUSALS}
    throttle_scopes = {"create": ["uploads"]}

    def get_queryset(self) -> QuerySet[Photo]:
        return queries.photos(self.request.user)

    @extend_schema(
        operation_id="photos_create",
        summary="Upload a photo",
        description=(
            "Decoded to prove it, turned upright, brought to sRGB, fitted into 2048 by 2048 and kept as a JPEG without "
            "metadata (no place, no time); the camera's make, model and focal length stay as fields. A view of a thing "
            "for a 3D model (`purpose` model3d) may be a TIFF, and up to 24 megapixels of it are kept."
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


class UploadViewSet(ViewSet):
    """Photos whose bytes do not come through us."""

    queryset = Photo.objects.none()
    serializer_class = serializers.PhotoSerializer
    errors = {
        "create": [UnsupportedMediaType, TooLarge],
        "complete": [UploadIncomplete, Conflict, Invalid, *_REFUSALS],
    }
    throttle_scopes = {"create": ["uploads"], "complete": ["completions"]}

    @extend_schema(
        operation_id="photos_upload_url",
        summary="An address to put a photo to",
        description=(
            "For large files and slow lines: put the bytes to `url` with `method` and exactly `headers`, then complete "
            "the photo. The address takes this type and this many bytes, again and again until it expires; what is not "
            "completed within a day is dropped. An archive is a zip of up to 500 photos; it is not completed: order a "
            "model with it."
        ),
        request=serializers.UploadUrlSerializer,
        responses={201: serializers.UploadSerializer},
        examples=[
            OpenApiExample(
                "photo",
                value={"filename": "me.jpg", "content_type": "image/jpeg", "bytes": 4_200_000},
                request_only=True,
            )
        ],
    )
    @idempotent()
    def create(self, request: Request) -> Response:
        body = serializers.UploadUrlSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        upload = uploads.announce(user=request.user, **body.validated_data)
        door, expires_at = uploads.door(upload)
        answer = {
            "photo": None if upload.purpose == Purpose.ARCHIVE else upload.pk,
            "archive": upload.pk if upload.purpose == Purpose.ARCHIVE else None,
            "url": door.url,
            "method": door.method,
            "headers": door.headers,
            "expires_at": expires_at,
        }
        return Response(serializers.UploadSerializer(answer).data, status=status.HTTP_201_CREATED)

    @extend_schema(
        operation_id="photos_complete",
        summary="Complete a photo",
        description=(
            "Takes in what was put to its address, with the checks of an upload through us. Again: the same photo. "
            "What is refused is dropped, and other bytes can be put until the address expires."
        ),
        request=None,
        responses={200: serializers.PhotoSerializer},
    )
    def complete(self, request: Request, pk: UUID) -> Response:
        refuse_fields(request.data)
        return Response(serializers.PhotoSerializer(uploads.complete(user=request.user, upload_id=pk)).data)

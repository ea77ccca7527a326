"""headshots, images, videos and models: ordering, and the lists of one kind"""

from __future__ import annotations

from typing import ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from billing.errors import DebtOutstanding, InsufficientCredits
from core.api.idempotency import idempotent
from core.api.views import ViewSet
from core.errors import NotFound
from generation import avatars, errors, jobs, moderation, operations, queries, uploads
from generation.api import serializers
from generation.api.filters import OneKindFilter
from generation.models import Generation, Kind

_DENIALS = (errors.Moderated, InsufficientCredits, DebtOutstanding)
_ORDERS = [
    errors.NotSold,
    NotFound,
    errors.Moderated,
    errors.OperationUnavailable,
    errors.QuoteMismatch,
    errors.QuoteExpired,
    InsufficientCredits,
    DebtOutstanding,
]
_PROMISE = (
    "Holds the price, then works in the background. It ends as exactly one of: all outputs in our storage and the "
    "price spent, or the price released in full."
)
_FETCHED = " A picture behind `image_url` is fetched by the job."
_HEADSHOT = OpenApiExample(
    "headshot",
    value={
        "photo": "0193f7a2-c1d8-7b1c-9d3e-5f60718293a4",
        "consent": True,
        "style_prompt": "dark suit, plain grey background",
    },
    request_only=True,
)
_IMAGE = OpenApiExample(
    "two pictures",
    value={"prompt": "A paper boat on a quiet lake at dawn", "size": "1920x1080", "quality": "hd", "count": 2},
    request_only=True,
)
_VIDEOS = [
    OpenApiExample(
        "film",
        value={"prompt": "A paper boat drifts across a quiet lake", "duration": 12, "style": "cinematic"},
        request_only=True,
    ),
    OpenApiExample(
        "film to listen to",
        value={
            "operation": "video.kie",
            "prompt": "A pale blue bar on a marble table",
            "triggers": ["soap", "water"],
            "duration": 8,
        },
        request_only=True,
    ),
    OpenApiExample(
        "film from a photo",
        value={"photo": "0193f7a2-c1d8-7b1c-9d3e-5f60718293a4", "consent": True, "with_audio": False},
        request_only=True,
    ),
]

_MODEL = OpenApiExample(
    "model",
    value={"name": "Teapot", "photos": [f"0193f7a2-c1d8-7b1c-9d3e-5f602{n:07}" for n in range(8)]},
    request_only=True,
)


def accepted(job: Generation) -> Response:
    """202: where to look, and when next."""
    where = {"Location": f"/api/v1/generations/{job.pk}", "Retry-After": "2"}
    return Response(serializers.JobSerializer(job).data, status=status.HTTP_202_ACCEPTED, headers=where)


class JobsViewSet(ViewSet):
    """A refusal is kept after the refused transaction has rolled back: nothing inside it would last."""

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, _DENIALS) and self.request.method == "POST":
            moderation.record_denial(user=self.request.user, asked=self.request.path, refusal=exc)
        return super().handle_exception(exc)


class OneKindViewSet(JobsViewSet):
    """Ordering one kind, and the list of it."""

    queryset = Generation.objects.none()
    serializer_class = serializers.JobSerializer
    body: ClassVar[type[serializers.OrderSerializer]]
    filterset_class = OneKindFilter
    throttle_scopes = {"create": ["generation"]}

    def get_queryset(self) -> QuerySet[Generation]:
        return queries.jobs(self.request.user).filter(kind=self.body.kind)

    def order(self, request: Request) -> Response:
        body = self.body(data=request.data)
        body.is_valid(raise_exception=True)
        asked = body.as_request()
        if asked.avatar_id is not None:
            avatars.resolve(user=request.user, avatar_id=asked.avatar_id)
        if asked.archive_id is not None:
            uploads.check_put(user=request.user, archive_id=asked.archive_id)
        return accepted(jobs.create(user=request.user, request=asked))

    def page(self) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(serializers.JobSerializer(page, many=True).data)


class HeadshotViewSet(OneKindViewSet):
    body = serializers.HeadshotSerializer
    errors = {"create": [errors.ConsentRequired, *_ORDERS]}

    @extend_schema(
        operation_id="headshots_create",
        summary="Order a headshot",
        description=_PROMISE + _FETCHED,
        request=serializers.HeadshotSerializer,
        responses={202: serializers.JobSerializer},
        examples=[_HEADSHOT],
    )
    @idempotent(required=True)
    def create(self, request: Request) -> Response:
        return self.order(request)

    @extend_schema(
        operation_id="headshots_list", summary="My headshots", responses=serializers.JobSerializer(many=True)
    )
    def list(self, request: Request) -> Response:
        return self.page()


class ImageViewSet(OneKindViewSet):
    body = serializers.ImageSerializer
    errors = {"create": [errors.AvatarNotReady, *_ORDERS]}

    @extend_schema(
        operation_id="images_create",
        summary="Order pictures",
        description=f"{_PROMISE} What is sold, and for how much, generations/operations says.",
        request=serializers.ImageSerializer,
        responses={202: serializers.JobSerializer},
        examples=[_IMAGE],
    )
    @idempotent(required=True)
    def create(self, request: Request) -> Response:
        return self.order(request)

    @extend_schema(operation_id="images_list", summary="My pictures", responses=serializers.JobSerializer(many=True))
    def list(self, request: Request) -> Response:
        return self.page()


class VideoViewSet(OneKindViewSet):
    body = serializers.VideoSerializer
    errors = {"create": [errors.ConsentRequired, *_ORDERS]}

    def scopes(self, request: Request) -> list[str]:
        """Films at KIE are counted by themselves too."""
        found = super().scopes(request)
        asked = request.data if found and isinstance(request.data, dict) else {}
        at_kie = found and operations.provider_of(Kind.VIDEO, asked.get("operation")) == "kie"
        return [*found, "kie_videos"] if at_kie else found

    @extend_schema(
        operation_id="videos_create",
        summary="Order a film",
        description=(
            f"{_PROMISE}{_FETCHED} `video.xai` and `video.kie` take different parameters, as generations/operations "
            "says; one that an operation does not know is refused."
        ),
        request=serializers.VideoSerializer,
        responses={202: serializers.JobSerializer},
        examples=_VIDEOS,
    )
    @idempotent(required=True)
    def create(self, request: Request) -> Response:
        return self.order(request)

    @extend_schema(operation_id="videos_list", summary="My films", responses=serializers.JobSerializer(many=True))
    def list(self, request: Request) -> Response:
        return self.page()


class Model3dViewSet(OneKindViewSet):
    body = serializers.Model3dSerializer
    errors = {"create": [errors.UploadIncomplete, *(error for error in _ORDERS if error is not errors.NotSold)]}

    @extend_schema(
        operation_id="models_create",
        summary="Order a 3D model",
        description=(
            f"{_PROMISE} Walk around the thing and take a photo every fifteen degrees or so, at two heights, with the "
            "thing still and the light even; what is shiny, clear or plain is not found again in another photo. It "
            "takes minutes to hours; `step` says where it is: camera_init, feature_extraction, image_matching, "
            "feature_matching, structure_from_motion, meshing, texturing. The outputs are a zip, GLB, OBJ and PLY. "
            "An archive with a link, another archive, a password, two files of one name or a path out of it is refused "
            "by the job, which then says so and costs nothing."
        ),
        request=serializers.Model3dSerializer,
        responses={202: serializers.JobSerializer},
        examples=[_MODEL],
    )
    @idempotent(required=True)
    def create(self, request: Request) -> Response:
        return self.order(request)

    @extend_schema(operation_id="models_list", summary="My 3D models", responses=serializers.JobSerializer(many=True))
    def list(self, request: Request) -> Response:
        return self.page()

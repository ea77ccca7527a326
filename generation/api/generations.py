"""generations"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpResponseRedirect
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from billing.errors import DebtOutstanding, InsufficientCredits
from core import storage
from core.api.filters import refuse_unknown
from core.api.idempotency import idempotent
from core.api.permissions import Public
from core.api.public import kept
from core.api.serializers import refuse_fields
from core.api.views import ViewSet
from core.errors import Invalid, NotFound, detail
from generation import errors, jobs, operations, queries, quotes, reports
from generation.api import serializers
from generation.api.filters import GenerationFilter
from generation.api.orders import JobsViewSet, accepted
from generation.models import Generation, Kind, Operation

_QUOTES = [
    OpenApiExample("headshot", value={"operation": "headshot", "params": {}}, request_only=True),
    OpenApiExample(
        "pictures", value={"operation": "image", "params": {"quality": "hd", "count": 2}}, request_only=True
    ),
    OpenApiExample(
        "film", value={"operation": "video.kie", "params": {"duration": 8, "quality": "720p"}}, request_only=True
    ),
]
_KIND = OpenApiParameter("kind", str, enum=list(Kind.values))


class GenerationViewSet(JobsViewSet):
    queryset = Generation.objects.none()
    serializer_class = serializers.JobSerializer
    filterset_class = GenerationFilter
    errors = {
        "download": [errors.NotFinished, NotFound, Invalid],
        "report": [errors.NotFinished],
        "stats": [Invalid],
        "quote": [errors.OperationUnavailable, errors.NotSold],
        "cancel": [errors.TooLateToCancel, errors.CancelLimitReached],
        "destroy": [errors.TooLateToCancel, errors.CancelLimitReached],
        "retry": [
            errors.NotRetryable,
            errors.AvatarLimitReached,
            errors.Moderated,
            errors.OperationUnavailable,
            errors.NotSold,
            InsufficientCredits,
            DebtOutstanding,
        ],
    }
    throttle_scopes = {"retry": ["generation"]}

    def get_queryset(self) -> QuerySet[Generation]:
        return queries.jobs(self.request.user)

    def scopes(self, request: Request) -> list[str]:
        """A film to be made again at KIE counts as an order there does."""
        found = super().scopes(request)
        again_at_kie = found and queries.provider_again(request.user, self.kwargs["pk"]) == "kie"
        return [*found, "kie_videos"] if again_at_kie else found

    @extend_schema(operation_id="generations_list", summary="My jobs", responses=serializers.JobSerializer(many=True))
    def list(self, request: Request) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(serializers.JobSerializer(page, many=True).data)

    @extend_schema(
        operation_id="generations_retrieve",
        summary="A job",
        description="While it is open the answer carries `Retry-After`.",
        responses=serializers.JobSerializer,
    )
    def retrieve(self, request: Request, pk: UUID) -> Response:
        job = queries.job(request.user, pk)
        return Response(serializers.JobSerializer(job).data, headers={"Retry-After": "2"} if job.is_open else None)

    @extend_schema(
        operation_id="generations_delete",
        summary="Delete a job",
        description="An open one is cancelled first. Its files go; what it cost stays in the history.",
        responses={204: OpenApiResponse(description="Deleted.")},
    )
    def destroy(self, request: Request, pk: UUID) -> Response:
        jobs.delete(user=request.user, job_id=pk)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        operation_id="generations_stats",
        summary="My jobs in figures",
        parameters=[_KIND],
        responses=serializers.StatsSerializer,
        filters=False,
    )
    def stats(self, request: Request) -> Response:
        refuse_unknown(request, {"kind"})
        kind = request.query_params.get("kind")
        if kind is not None and kind not in Kind.values:
            raise Invalid(details=[detail("invalid_choice", f"kind must be one of {', '.join(Kind.values)}.", "kind")])
        return Response(queries.stats(request.user, kind=kind))

    @extend_schema(
        operation_id="generations_download",
        summary="Download an output",
        description="Redirects to a link that is made for this request.",
        parameters=[OpenApiParameter("output", OpenApiTypes.UUID, description="An output's id; absent: the first.")],
        responses={302: OpenApiResponse(description="To the signed link.")},
        filters=False,
    )
    def download(self, request: Request, pk: UUID) -> HttpResponseRedirect:
        job = queries.job(request.user, pk)
        asset: Any = queries.output(job, self._output())
        stem = "photogrammetry_results_" if asset.content_type == "application/zip" else f"{job.kind}-"
        name = f"{stem}{job.pk}.{asset.file.key.rsplit('.', 1)[-1]}"
        return HttpResponseRedirect(storage.signed_url(asset.file.key, filename=name))

    def _output(self) -> UUID | None:
        refuse_unknown(self.request, {"output"})
        given = self.request.query_params.get("output")
        try:
            found = UUID(given) if given else None
        except ValueError:
            found = None
        if given and str(found) != given.lower():  # Python takes other spellings than ours
            raise Invalid(details=[detail("invalid", "output must be an output's id.", "output")])
        return found

    @extend_schema(
        operation_id="generations_quote",
        summary="Ask a price",
        description="Binding for ten minutes, for you and these parameters.",
        request=serializers.QuoteSerializer,
        responses={200: serializers.QuotedSerializer},
        examples=_QUOTES,
    )
    def quote(self, request: Request) -> Response:
        body = serializers.QuoteSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        operation = operations.named(body.validated_data["operation"])
        params = operations.complete(operation, body.validated_data["params"], is_order=False)
        offer = quotes.offer(user=request.user, operation=operation, params=params)
        answer = {
            "operation": operation.code,
            "price": offer.price,
            "unit": "CREDIT",
            "params": params,
            "quote": offer.token,
            "expires_at": offer.expires_at,
        }
        return Response(serializers.QuotedSerializer(answer).data)

    @extend_schema(
        operation_id="generations_cancel",
        summary="Cancel a job",
        description="Until its output is being stored. The price is released in full.",
        request=None,
        responses=serializers.JobSerializer,
    )
    def cancel(self, request: Request, pk: UUID) -> Response:
        refuse_fields(request.data)
        return Response(serializers.JobSerializer(jobs.cancel(user=request.user, job_id=pk)).data)

    @extend_schema(
        operation_id="generations_retry",
        summary="Retry a failed job",
        description="The next round, with its own hold, at the lower of the agreed price and today's. Three at most.",
        request=None,
        responses={202: serializers.JobSerializer},
    )
    @idempotent(required=True)
    def retry(self, request: Request, pk: UUID) -> Response:
        refuse_fields(request.data)
        return accepted(jobs.retry(user=request.user, job_id=pk))

    @extend_schema(
        operation_id="generations_report",
        summary="Report a job",
        description="Tell staff that what it made must go. Once for each job: asked again, the first report answers.",
        request=serializers.ReportedSerializer,
        responses={201: serializers.ReportSerializer, 200: serializers.ReportSerializer},
    )
    def report(self, request: Request, pk: UUID) -> Response:
        queries.job(request.user, pk)
        body = serializers.ReportedSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        made, is_new = reports.report(user=request.user, job_id=pk, **body.validated_data)
        code = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        return Response(serializers.ReportSerializer(made).data, status=code)


class OperationViewSet(ViewSet):
    authentication_classes = []
    permission_classes = [Public]
    pagination_class = None
    serializer_class = serializers.OperationSerializer

    def get_queryset(self) -> QuerySet[Operation]:
        return queries.operations()

    @extend_schema(
        operation_id="generations_operations",
        summary="What can be ordered",
        responses=serializers.OperationSerializer(many=True),
    )
    @kept("operations")
    def list(self, request: Request) -> Response:
        return Response(serializers.OperationSerializer(self.filter_queryset(self.get_queryset()), many=True).data)

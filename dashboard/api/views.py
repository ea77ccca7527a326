"""dashboard"""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework.response import Response

from accounts.api.authentication import SignedInRequest
from core import ratelimit
from core.api.filters import refuse_unknown
from core.api.permissions import IsSignedIn
from core.api.views import ViewSet
from core.errors import Error, Invalid, NotFound, Unavailable
from dashboard import overview
from dashboard.activity import Feed
from dashboard.api import serializers
from generation.models import Generation

_TIMEFRAME = OpenApiParameter("timeframe", str, enum=list(overview.TIMEFRAMES), default="30d")
_ACTIVITY = OpenApiExample(
    "a picture",
    value={
        "id": "0193f7a2-b5f0-7c4e-8a21-9b0c1d2e3f40",
        "type": "generation",
        "title": "Image",
        "description": "A paper boat on a lake",
        "status": "succeeded",
        "created_at": "2026-01-31T12:00:00Z",
        "metadata": {"kind": "image", "operation": "image", "price": 10, "error": ""},
    },
    response_only=True,
)


class DashboardViewSet(ViewSet):
    """The caller's own figures. Nothing here is counted up row by row."""

    permission_classes = [IsSignedIn]
    queryset = Generation.objects.none()
    request: SignedInRequest
    errors: ClassVar[dict[str, list[type[Error]]]] = {
        "overview": [Invalid],
        "quick_stats": [Invalid],
        "analytics": [Invalid],
        "activity": [Invalid, NotFound],
        "limits": [Invalid],
    }

    @extend_schema(
        operation_id="dashboard_retrieve",
        summary="Everything at a glance",
        description="The person, their credits, subscription, avatars and jobs, and the ten newest activities.",
        responses=serializers.DashboardSerializer,
    )
    def overview(self, request: SignedInRequest) -> Response:
        refuse_unknown(request)
        return Response(serializers.DashboardSerializer(overview.everything(request.user)).data)

    @extend_schema(
        operation_id="dashboard_quick_stats",
        summary="A few numbers",
        responses=serializers.QuickStatsSerializer,
    )
    def quick_stats(self, request: SignedInRequest) -> Response:
        refuse_unknown(request)
        return Response(serializers.QuickStatsSerializer(overview.quick_stats(request.user)).data)

    @extend_schema(
        operation_id="dashboard_analytics",
        summary="Jobs and credits by the day",
        description=(
            "The last 7, 30 or 90 days in UTC, today among them and those on which nothing happened. Jobs count on the "
            "day on which they were ordered, credits on the day on which they moved."
        ),
        parameters=[_TIMEFRAME],
        responses=serializers.AnalyticsSerializer,
    )
    def analytics(self, request: SignedInRequest) -> Response:
        refuse_unknown(request, {"timeframe"})
        found = overview.analytics(request.user, request.query_params.get("timeframe", "30d"))
        return Response(serializers.AnalyticsSerializer(found).data)

    @extend_schema(
        operation_id="dashboard_activity",
        summary="What happened, newest first",
        description=(
            "Jobs, avatars, payments, subscriptions, orders, calls (made and received) and movements of credits, "
            "without what was deleted; and each time that support looked at the account, with the reason."
        ),
        responses=serializers.ActivitySerializer(many=True),
        examples=[_ACTIVITY],
    )
    def activity(self, request: SignedInRequest) -> Response:
        refuse_unknown(request, {"page", "limit"})
        page = self.paginate_queryset(Feed(request.user))  # type: ignore[arg-type]  # whatever counts and slices
        return self.get_paginated_response(serializers.ActivitySerializer(page, many=True).data)

    @extend_schema(
        operation_id="dashboard_limits",
        summary="What I may still do",
        description="Avatars by the plan, credits, the subscription's end and the rate limits that count per person.",
        responses=serializers.LimitsSerializer,
    )
    def limits(self, request: SignedInRequest) -> Response:
        refuse_unknown(request)
        rates = [
            {"name": name, "limit": limit, "period_s": period_s, "remaining": _remaining(request, name)}
            for name, (limit, period_s, by) in settings.RATE_LIMITS.items()
            if by in ("user", "user_or_ip")
        ]
        return Response(serializers.LimitsSerializer(overview.limits(request.user) | {"rate_limits": rates}).data)


def _remaining(request: SignedInRequest, name: str) -> int | None:
    """How many are left of a limit that counts per person; looking uses up nothing."""
    try:
        found = ratelimit.usage(request._request, name, str(request.user.pk), count=False)
    except Unavailable:
        return None
    return found.remaining if found else None

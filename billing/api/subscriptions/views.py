"""subscriptions/*."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import status
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from billing import plans, subscriptions
from billing.api.subscriptions import serializers
from billing.errors import (
    GatewayUnavailable,
    NoSubscription,
    PaymentDeclined,
    SalesStopped,
    SubscriptionEnded,
    SubscriptionExists,
    SubscriptionNotActive,
)
from billing.models import Subscription
from core.api.filters import refuse_unknown
from core.api.idempotency import idempotent
from core.api.permissions import IsVerified, Public
from core.api.public import kept
from core.api.serializers import refuse_fields
from core.api.views import ViewSet
from core.errors import BadGateway, Unavailable

_PLAN = {
    "code": "pro",
    "name": "Pro",
    "interval": "month",
    "price": {"amount": 2999, "currency": "USD"},
    "credits": 500,
    "max_avatars": 10,
}
_SUBSCRIPTION = {
    "id": "01937a2c-1d87-7b1c-9d3e-5f6071829304",
    "plan": _PLAN,
    "next_plan": None,
    "status": "incomplete",
    "period_start": None,
    "period_end": None,
    "cancel_at_period_end": False,
    "credits_lost": 0,
    "client": {
        "payment_intent": "pi_example",
        "client_secret": "pi_example_secret_example",
        "publishable_key": "pk_test_example",
    },
    "ended_at": None,
    "created_at": "2026-01-01T10:00:00Z",
}
_SHOWN = OpenApiExample("subscription", value=_SUBSCRIPTION, response_only=True, status_codes=["200", "201"])
AWAY = [GatewayUnavailable, BadGateway, Unavailable]


class PlanViewSet(ViewSet):
    authentication_classes = []
    permission_classes = [Public]
    pagination_class = None
    filter_backends = ()

    @extend_schema(
        operation_id="subscriptions_plans", summary="The plans that are sold", responses=serializers.PlansSerializer
    )
    @kept("prices")
    def retrieve(self, request: Request) -> Response:
        refuse_unknown(request)
        return Response(serializers.PlansSerializer({"plans": plans.shown()}).data)


class SubscriptionViewSet(ListModelMixin, ViewSet):
    permission_classes = [IsVerified]
    serializer_class = serializers.SubscriptionSerializer
    filter_backends = ()
    throttle_scopes = {"create": ["purchases"], "update": ["purchases"]}
    errors = {
        "create": [SubscriptionExists, SalesStopped, *AWAY],
        "update": [SubscriptionNotActive, PaymentDeclined, SalesStopped, *AWAY],
        "cancel": AWAY,
        "reactivate": [SubscriptionEnded, *AWAY],
        "portal": [NoSubscription, *AWAY],
    }

    def get_queryset(self) -> QuerySet[Subscription]:
        mine = Subscription.objects.visible_to(self.request.user)  # type: ignore[arg-type]
        return mine.select_related("plan", "next_plan").order_by("-created_at", "-id")

    @extend_schema(operation_id="subscriptions_list", summary="My subscriptions, newest first")
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    @extend_schema(
        operation_id="subscriptions_current",
        summary="The subscription that lives now, if any",
        responses=serializers.CurrentSerializer,
    )
    def current(self, request: Request) -> Response:
        return Response(serializers.CurrentSerializer({"subscription": subscriptions.live_of(request.user)}).data)

    @extend_schema(
        operation_id="subscriptions_create",
        summary="Begin a subscription",
        description=(
            "Answers what Stripe's library needs to pay the first invoice; the credits come when it is paid. One "
            "subscription at a time. After a 502 or 503 send the same Idempotency-Key again: it resumes."
        ),
        request=serializers.SubscribeSerializer,
        responses={201: serializers.SubscriptionSerializer},
        examples=[OpenApiExample("monthly", value={"plan": "pro"}, request_only=True), _SHOWN],
    )
    @idempotent(required=True, resumable=True)
    def create(self, request: Request) -> Response:
        body = serializers.SubscribeSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        claim = request.idempotency  # type: ignore[attr-defined]
        started = subscriptions.start(user=request.user, claim=claim, **body.validated_data)
        where = {"Location": "/api/v1/subscriptions/current"}
        return Response(self._body(started.subscription), status=status.HTTP_201_CREATED, headers=where)

    @extend_schema(
        operation_id="subscriptions_update",
        summary="Change the plan",
        description=(
            "A dearer plan begins at once: the card on file is charged for the rest of the period, and the credits of "
            "that rest are added. A cheaper one begins with the next period. Asking for the present plan takes back a "
            "cheaper one that was to come."
        ),
        request=serializers.PlanChangeSerializer,
        responses={200: serializers.SubscriptionSerializer},
        examples=[OpenApiExample("change", value={"plan": "enterprise"}, request_only=True), _SHOWN],
    )
    @idempotent(required=True, resumable=True)
    def update(self, request: Request, pk: str) -> Response:
        row = self.get_object()
        body = serializers.PlanChangeSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        claim = request.idempotency  # type: ignore[attr-defined]
        return self._shown(subscriptions.change(subscription=row, claim=claim, **body.validated_data))

    @extend_schema(
        operation_id="subscriptions_cancel",
        summary="End a subscription",
        description=(
            "With its period, unless `at_once`: then the rest of its credits goes, and `credits_lost` says how many."
        ),
        request=serializers.SubscriptionCancelSerializer,
        responses={200: serializers.SubscriptionSerializer},
        examples=[OpenApiExample("at_once", value={"at_once": True}, request_only=True), _SHOWN],
    )
    def cancel(self, request: Request, pk: str) -> Response:
        row = self.get_object()
        body = serializers.SubscriptionCancelSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        return self._shown(subscriptions.cancel(row, at_once=body.validated_data["at_once"]))

    @extend_schema(
        operation_id="subscriptions_reactivate",
        summary="Let a subscription go on that was to end",
        request=None,
        responses={200: serializers.SubscriptionSerializer},
        examples=[_SHOWN],
    )
    def reactivate(self, request: Request, pk: str) -> Response:
        row = self.get_object()
        refuse_fields(request.data)
        return self._shown(subscriptions.reactivate(row))

    @extend_schema(
        operation_id="subscriptions_portal",
        summary="A link to Stripe's pages for cards and invoices",
        request=serializers.PortalSerializer,
        responses={200: serializers.PortalLinkSerializer},
        examples=[
            OpenApiExample("portal", value={"return_url": "https://app.example.com/account"}, request_only=True),
        ],
    )
    def portal(self, request: Request) -> Response:
        body = serializers.PortalSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        url = subscriptions.open_portal(user=request.user, return_url=body.validated_data["return_url"])
        return Response(serializers.PortalLinkSerializer({"url": url}).data)

    def _shown(self, row: Subscription) -> Response:
        return Response(self._body(row))

    def _body(self, row: Subscription) -> Any:
        fresh = Subscription.objects.select_related("plan", "next_plan").get(pk=row.pk)
        return serializers.SubscriptionSerializer(fresh).data

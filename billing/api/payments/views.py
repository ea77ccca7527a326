"""credits/packages, credits/purchase and payments/*."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import status
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from billing import checkouts, gateways, payments, pricing
from billing.api.payments import serializers
from billing.api.payments.filters import PackageFilter, PaymentFilter
from billing.errors import (
    CurrencyNotSold,
    DebtOutstanding,
    GatewayUnavailable,
    InsufficientFunds,
    NotForSale,
    PaymentSettled,
    SalesStopped,
    SignatureInvalid,
)
from billing.models import Package, Payment
from core.api.filters import refuse_unknown
from core.api.idempotency import idempotent
from core.api.permissions import IsVerified, Public
from core.api.public import kept
from core.api.serializers import refuse_fields
from core.api.views import ViewSet
from core.errors import BadGateway, Unavailable

START_ERRORS = [
    NotForSale,
    CurrencyNotSold,
    InsufficientFunds,
    DebtOutstanding,
    SalesStopped,
    GatewayUnavailable,
    BadGateway,
    Unavailable,
]

_PAYMENT = {
    "id": "01937a2c-1d87-7b1c-9d3e-5f6071829304",
    "item": "package:BASIC",
    "title": "Basic, 100 credits",
    "credits": 100,
    "gateway": "razorpay",
    "amount": 49900,
    "currency": "INR",
    "status": "pending",
    "received": 0,
    "refunded": 0,
    "flow": "client",
    "client": {"order_id": "order_Ex01", "key_id": "rzp_test_example", "amount": 49900, "currency": "INR"},
    "checkout_url": None,
    "error": None,
    "expires_at": "2026-01-01T11:00:00Z",
    "settled_at": None,
    "created_at": "2026-01-01T10:00:00Z",
}
_SHOWN = OpenApiExample("payment", value=_PAYMENT, response_only=True, status_codes=["200", "201"])


class PackageViewSet(ListModelMixin, ViewSet):
    authentication_classes = []
    permission_classes = [Public]
    serializer_class = serializers.PackageSerializer
    filterset_class = PackageFilter
    queryset = Package.objects.filter(is_shown=True).order_by("currency", "position", "credits")

    @extend_schema(operation_id="credits_packages", summary="Packages of credits")
    @kept("prices")
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)


class CatalogueViewSet(ViewSet):
    authentication_classes = []
    permission_classes = [Public]
    pagination_class = None
    filter_backends = ()

    @extend_schema(
        operation_id="payments_pricing",
        summary="Everything that is sold, and how it can be paid",
        responses=serializers.PricingSerializer,
    )
    @kept("prices")
    def retrieve(self, request: Request) -> Response:
        refuse_unknown(request)
        shown = {
            "packages": pricing.packages(),
            "custom_credits": pricing.custom_prices(),
            "top_ups": pricing.TOP_UPS,
            "gateways": gateways.offered(),
        }
        return Response(serializers.PricingSerializer(shown).data)


def _answer(started: payments.Started) -> Response:
    body = serializers.PaymentSerializer(checkouts.payment(started.payment.pk)).data
    if not started.is_new:
        return Response(body)
    where = {"Location": f"/api/v1/payments/{started.payment.pk}"}
    return Response(body, status=status.HTTP_201_CREATED, headers=where)


class PurchaseViewSet(ViewSet):
    permission_classes = [IsVerified]
    throttle_scopes = ["purchases"]
    errors = START_ERRORS
    pagination_class = None

    @extend_schema(
        operation_id="credits_purchase",
        summary="Buy credits",
        description="The same as POST payments, for credits: a package by its code, or a number of them.",
        request=serializers.PurchaseSerializer,
        responses={201: serializers.PaymentSerializer, 200: serializers.PaymentSerializer},
        examples=[
            OpenApiExample("package", value={"package": "BASIC", "gateway": "razorpay"}, request_only=True),
            OpenApiExample("custom", value={"credits": 150, "gateway": "razorpay"}, request_only=True),
            _SHOWN,
        ],
    )
    @idempotent(required=True, resumable=True)
    def create(self, request: Request) -> Response:
        body = serializers.PurchaseSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        wanted = dict(body.validated_data)
        package, credits = wanted.pop("package", None), wanted.pop("credits", None)
        item = f"package:{package}" if package else f"credits:{credits}"
        return _answer(payments.start(user=request.user, item=item, claim=request.idempotency, **wanted))  # type: ignore[attr-defined]


class PaymentViewSet(ListModelMixin, RetrieveModelMixin, ViewSet):
    permission_classes = [IsVerified]
    serializer_class = serializers.PaymentSerializer
    filterset_class = PaymentFilter
    throttle_scopes = {"create": ["purchases"]}
    errors = {
        "create": START_ERRORS,
        "verify": [SignatureInvalid, GatewayUnavailable, BadGateway],
        "cancel": [PaymentSettled],
    }

    def get_queryset(self) -> QuerySet[Payment]:
        return checkouts.payments_of(self.request.user)

    @extend_schema(operation_id="payments_list", summary="My payments, newest first")
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    @extend_schema(operation_id="payments_retrieve", summary="One payment", examples=[_SHOWN])
    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().retrieve(request, *args, **kwargs)

    @extend_schema(
        operation_id="payments_create",
        summary="Start a payment",
        description=(
            "Opens a payment for an item at today's price and tells what the gateway's checkout needs. An open payment "
            "for the same item, gateway and price is answered again with 200. After a 502 or 503 send the same "
            "Idempotency-Key again: it resumes the payment it began. By `wallet` it is paid at once from the caller's "
            "primary wallet, or 402 and nothing is taken."
        ),
        request=serializers.StartSerializer,
        responses={201: serializers.PaymentSerializer, 200: serializers.PaymentSerializer},
        examples=[
            OpenApiExample("package", value={"item": "package:BASIC", "gateway": "razorpay"}, request_only=True),
            OpenApiExample("wallet", value={"item": "wallet:calls:500000", "gateway": "wallet"}, request_only=True),
            OpenApiExample(
                "hosted",
                value={
                    "item": "credits:150",
                    "gateway": "razorpay",
                    "flow": "hosted",
                    "return_url": "https://app.example.com/paid",
                },
                request_only=True,
            ),
            _SHOWN,
        ],
    )
    @idempotent(required=True, resumable=True)
    def create(self, request: Request) -> Response:
        body = serializers.StartSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        return _answer(payments.start(user=request.user, claim=request.idempotency, **body.validated_data))  # type: ignore[attr-defined]

    @extend_schema(
        operation_id="payments_verify",
        summary="Look whether a payment has been paid",
        description=(
            "Give what the checkout handed over, or nothing. We ask the gateway ourselves: 200 with the payment, paid "
            "or still pending; again is the same."
        ),
        request=serializers.VerifySerializer,
        responses={200: serializers.PaymentSerializer},
        examples=[
            OpenApiExample(
                "checkout",
                value={
                    "razorpay_order_id": "order_Ex01",
                    "razorpay_payment_id": "pay_Ex01",
                    "razorpay_signature": "788126578560eea095c76bc0fc4c5f962a8eec998a1173f2d18a179f37f12833",
                },
                request_only=True,
            ),
            OpenApiExample("look", value={}, request_only=True),
        ],
    )
    def verify(self, request: Request, pk: str) -> Response:
        payment = self.get_object()
        body = serializers.VerifySerializer(data=request.data)
        body.is_valid(raise_exception=True)
        payments.verify(payment, body.validated_data)
        return self._shown(payment)

    @extend_schema(
        operation_id="payments_cancel",
        summary="Cancel an open payment",
        description="Money that arrives all the same is still settled, and the credits are added.",
        request=None,
        responses={200: serializers.PaymentSerializer},
    )
    def cancel(self, request: Request, pk: str) -> Response:
        payment = self.get_object()
        refuse_fields(request.data)
        payments.cancel(payment)
        return self._shown(payment)

    def _shown(self, payment: Payment) -> Response:
        return Response(serializers.PaymentSerializer(checkouts.payment(payment.pk)).data)

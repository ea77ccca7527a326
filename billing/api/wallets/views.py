"""credits/balance, credits/history, credits/explain and wallets: what people see of their books."""

from __future__ import annotations

from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_view
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.response import Response

from accounts.api.authentication import SignedInRequest
from billing import ledger
from billing.api.wallets import serializers
from billing.ledger import statements
from billing.models import LedgerEntry, Wallet
from core.api.permissions import IsSignedIn
from core.api.views import ViewSet

_BALANCE = OpenApiExample(
    "balance",
    value={"balance": 105, "held": 50, "frozen": 0, "available": 55, "debt": 0},
    response_only=True,
)
_ENTRY = OpenApiExample(
    "a headshot",
    value={
        "id": "0193f7a2-c1d8-7b1c-9d3e-5f60718293a4",
        "kind": "spend",
        "amount": -50,
        "balance_after": 55,
        "subject": {"type": "generation", "id": "0193f7a2-b5f0-7c4e-8a21-9b0c1d2e3f40"},
        "created_at": "2026-01-31T12:00:00Z",
    },
    response_only=True,
)
_WALLET = OpenApiExample(
    "wallet",
    value={
        "id": "0193f7a2-c1d8-7b1c-9d3e-5f60718293a4",
        "kind": "primary",
        "unit": "NGN",
        "exponent": 2,
        "balance": 150000,
        "held": 1000,
        "frozen": 0,
        "available": 149000,
    },
    response_only=True,
)


class CreditsViewSet(ViewSet):
    """The caller's credits."""

    permission_classes = [IsSignedIn]
    queryset = LedgerEntry.objects.none()
    request: SignedInRequest

    @extend_schema(
        operation_id="credits_balance",
        summary="The balance",
        description="Credits now. Reading them reserves nothing: what spends decides by itself, or answers 402.",
        responses=serializers.BalanceSerializer,
        examples=[_BALANCE],
    )
    def balance(self, request: SignedInRequest) -> Response:
        # The hottest read: figures straight from the row to the JSON, no serializer between.
        now = ledger.balance(request.user.pk)
        return Response(
            {
                "balance": now.balance,
                "held": now.held,
                "frozen": now.frozen,
                "available": now.available,
                "debt": now.debt,
            }
        )

    @extend_schema(
        operation_id="credits_history",
        summary="What came and went",
        description="Every movement of the caller's credits, newest first.",
        responses=serializers.EntrySerializer(many=True),
        examples=[_ENTRY],
    )
    def history(self, request: SignedInRequest) -> Response:
        page = self.paginate_queryset(self.filter_queryset(statements.entries(request.user)))
        return self.get_paginated_response(serializers.EntrySerializer(page, many=True).data)

    @extend_schema(
        operation_id="credits_explain",
        summary="Why the balance is what it is",
        description="Lots in the order in which they are spent, what is held and frozen, what is owed, what ends next.",
        responses=serializers.ExplanationSerializer,
    )
    def explain(self, request: SignedInRequest) -> Response:
        return Response(serializers.ExplanationSerializer(statements.explain(request.user)).data)


@extend_schema_view(
    list=extend_schema(
        operation_id="wallets_list",
        summary="Wallets",
        description="The caller's wallets: credits, and money by kind and currency in minor units.",
        examples=[_WALLET],
    ),
    retrieve=extend_schema(
        operation_id="wallets_retrieve", summary="A wallet", description="One of them.", examples=[_WALLET]
    ),
)
class WalletViewSet(ListModelMixin, RetrieveModelMixin, ViewSet):
    """The caller's wallets."""

    permission_classes = [IsSignedIn]
    serializer_class = serializers.WalletSerializer
    queryset = Wallet.objects.none()
    request: SignedInRequest

    def get_queryset(self) -> QuerySet[Wallet]:
        if getattr(self, "swagger_fake_view", False):  # the schema is made by nobody
            return Wallet.objects.none()
        return statements.wallets(self.request.user)

    @extend_schema(
        operation_id="wallets_entries",
        summary="A wallet's movements",
        description="Every movement of one wallet, newest first.",
        responses=serializers.EntrySerializer(many=True),
        examples=[_ENTRY],
    )
    def entries(self, request: SignedInRequest, pk: UUID) -> Response:
        wallet = self.get_object()
        page = self.paginate_queryset(self.filter_queryset(statements.entries(request.user, wallet_id=wallet.pk)))
        return self.get_paginated_response(serializers.EntrySerializer(page, many=True).data)

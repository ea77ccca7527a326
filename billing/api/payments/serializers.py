"""Bodies of the catalogue and of payments."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema_field
from rest_framework import serializers

from billing import checkouts, gateways
from billing.models import CreditPrice, Package, Payment, PaymentState
from billing.models.payments import Flow
from core.api.serializers import IntegerField, Serializer, TextField


class MoneySerializer(serializers.Serializer[Any]):
    """Units: `amount` in the currency's minor unit."""

    amount = serializers.IntegerField()
    currency = serializers.CharField()


class PackageSerializer(serializers.ModelSerializer[Package]):
    price = serializers.SerializerMethodField()

    class Meta:
        model = Package
        fields = ["code", "name", "credits", "price", "is_popular", "is_for_sale"]

    @extend_schema_field(MoneySerializer)
    def get_price(self, row: Package) -> dict[str, Any]:
        return {"amount": row.amount, "currency": row.currency}


class CreditPriceSerializer(serializers.ModelSerializer[CreditPrice]):
    """The price of one credit when the number is free to choose."""

    price = serializers.SerializerMethodField()

    class Meta:
        model = CreditPrice
        fields = ["price", "least", "most"]

    @extend_schema_field(MoneySerializer)
    def get_price(self, row: CreditPrice) -> dict[str, Any]:
        return {"amount": row.amount, "currency": row.currency}


class TopUpSerializer(serializers.Serializer[Any]):
    """How much may be put on a wallet of money at once. Units: minor."""

    wallet = serializers.CharField()
    currency = serializers.CharField()
    least = serializers.IntegerField()
    most = serializers.IntegerField()


class GatewaySerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    currencies = serializers.ListField(child=serializers.CharField())
    default_currency = serializers.CharField()


class PricingSerializer(serializers.Serializer[Any]):
    """What is sold, and the gateways that are set up to take the money."""

    packages = PackageSerializer(many=True)
    custom_credits = CreditPriceSerializer(many=True)
    top_ups = TopUpSerializer(many=True)
    gateways = GatewaySerializer(many=True)


class _Ordering(Serializer):
    gateway = serializers.ChoiceField(choices=gateways.names())
    currency = serializers.RegexField(
        r"^[A-Za-z]{3}$", required=False, error_messages={"invalid": "A currency has three letters."}
    )
    flow = serializers.ChoiceField(choices=Flow.choices, default=Flow.CLIENT)
    return_url = serializers.URLField(required=False, max_length=2000, default="")


class StartSerializer(_Ordering):
    item = TextField(
        max_length=80, help_text="`package:<code>`, `credits:<number>`, `wallet:<kind>:<amount>` or `order:<id>`."
    )


class PurchaseSerializer(_Ordering):
    """Either a package's code or a number of credits."""

    package = serializers.RegexField(
        r"^[A-Za-z0-9_-]{1,32}$", required=False, error_messages={"invalid": "That is not a package's code."}
    )
    credits = IntegerField(required=False, error_messages={"invalid": "Order a whole number of credits."})

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("package" in attrs) == ("credits" in attrs):
            raise serializers.ValidationError("Give either package or credits.", code="package_or_credits")
        return attrs


class VerifySerializer(Serializer):
    """What Razorpay's checkout handed to the client, all three; or nothing, to make us look."""

    razorpay_order_id = serializers.CharField(max_length=64, required=False)
    razorpay_payment_id = serializers.CharField(max_length=64, required=False)
    razorpay_signature = serializers.CharField(max_length=128, required=False)

    def validate(self, attrs: dict[str, str]) -> dict[str, str]:
        if attrs and len(attrs) != len(self.fields):
            raise serializers.ValidationError("Give all three razorpay fields, or none.", code="incomplete")
        return attrs


class RazorpayClientSerializer(serializers.Serializer[Any]):
    """What the gateway's front-end library needs to open its checkout."""

    order_id = serializers.CharField()
    key_id = serializers.CharField()
    amount = serializers.IntegerField()
    currency = serializers.CharField()


class StripeClientSerializer(serializers.Serializer[Any]):
    """What Stripe.js needs to confirm the payment."""

    payment_intent = serializers.CharField()
    client_secret = serializers.CharField()
    publishable_key = serializers.CharField()


class MonnifyClientSerializer(serializers.Serializer[Any]):
    """What Monnify's library opens its checkout with."""

    transaction_reference = serializers.CharField()


_Client = PolymorphicProxySerializer(
    component_name="PaymentClient",
    serializers=[RazorpayClientSerializer, StripeClientSerializer, MonnifyClientSerializer],
    resource_type_field_name=None,
    allow_null=True,
)


class PaymentErrorSerializer(serializers.Serializer[Any]):
    code = serializers.CharField()
    message = serializers.CharField()


class PaymentSerializer(serializers.ModelSerializer[Payment]):
    """Units: `amount`, `received` and `refunded` in the currency's minor unit."""

    status = serializers.ChoiceField(choices=PaymentState.choices, source="state")
    client = serializers.SerializerMethodField()
    checkout_url = serializers.SerializerMethodField()
    error = serializers.SerializerMethodField()

    class Meta:
        model = Payment
        fields = [
            "id",
            "item",
            "title",
            "credits",
            "gateway",
            "amount",
            "currency",
            "status",
            "received",
            "refunded",
            "flow",
            "client",
            "checkout_url",
            "error",
            "expires_at",
            "settled_at",
            "created_at",
        ]
        read_only_fields = fields

    @extend_schema_field(_Client)
    def get_client(self, row: Payment) -> dict[str, Any] | None:
        return checkouts.client_of(row)

    @extend_schema_field(serializers.URLField(allow_null=True))
    def get_checkout_url(self, row: Payment) -> str | None:
        return checkouts.url_of(row)

    @extend_schema_field(PaymentErrorSerializer(allow_null=True))
    def get_error(self, row: Payment) -> dict[str, str] | None:
        if not row.failure_code and not row.failure_message:
            return None
        return {"code": row.failure_code or "failed", "message": row.failure_message}

"""Bodies of products and orders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from core import storage
from core.api.serializers import IntegerField, Serializer, TextField
from core.money import CURRENCIES
from store import invoices
from store.models import Because, Order, OrderLine, OrderState, Product
from store.orders import Wanted

MOST_LINES = 50
MOST_OF_ONE = 1_000
HIGHEST_PRICE = 100_000_000  # a gateway takes no more at once
MOST_ON_SHELF = 1_000_000


class StorePriceSerializer(serializers.Serializer[Any]):
    """Units: `amount` in the currency's minor unit."""

    amount = serializers.IntegerField()
    currency = serializers.CharField()


class PriceInSerializer(Serializer):
    """Units: `amount` in the currency's minor unit."""

    amount = IntegerField(min_value=1, max_value=HIGHEST_PRICE)
    currency = serializers.ChoiceField(choices=CURRENCIES)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if len(attrs) < 2:  # in a PATCH nothing is required by itself
            raise serializers.ValidationError("A price is an amount and its currency.", code="incomplete")
        return attrs


class ProductSerializer(serializers.ModelSerializer[Product]):
    """`stock_quantity` lie on the shelf; `available` of them can be ordered, the rest is reserved."""

    price = serializers.SerializerMethodField()
    stock_quantity = serializers.IntegerField(source="stock")
    available = serializers.IntegerField()
    model_url = serializers.SerializerMethodField(help_text="Of its 3D model (GLB): a link that runs out, made anew.")

    class Meta:
        model = Product
        fields = [
            "id",
            "name",
            "description",
            "category",
            "price",
            "image_url",
            "model_url",
            "stock_quantity",
            "available",
            "is_active",
            "created_at",
            "updated_at",
        ]
        read_only_fields = fields

    @extend_schema_field(StorePriceSerializer)
    def get_price(self, row: Product) -> dict[str, Any]:
        return {"amount": row.amount, "currency": row.currency}

    @extend_schema_field(serializers.URLField(allow_null=True))
    def get_model_url(self, row: Product) -> str | None:
        return storage.signed_url(row.model_key) if row.model_key else None


class ProductInSerializer(Serializer):
    name = TextField(max_length=120)
    description = TextField(has_lines=True, max_length=5000, required=False, allow_blank=True)
    category = serializers.RegexField(
        r"^[a-z0-9]+(-[a-z0-9]+)*$",
        max_length=40,
        error_messages={"invalid": "A category has small letters, digits and hyphens."},
    )
    price = PriceInSerializer()
    image_url = serializers.URLField(max_length=2000, required=False, allow_blank=True)
    model = serializers.UUIDField(
        required=False,
        allow_null=True,
        help_text="A finished 3D job of your own, whose GLB is shown; null takes it off.",
    )
    stock_quantity = IntegerField(min_value=0, max_value=MOST_ON_SHELF, required=False)
    is_active = serializers.BooleanField(required=False)

    def validate_image_url(self, value: str) -> str:
        if value and not value.startswith("https://"):
            raise serializers.ValidationError("Give an https address.", code="not_https")
        return value

    def values(self) -> dict[str, Any]:
        """What was named, as the product's fields."""
        found: dict[str, Any] = dict(self.validated_data)
        if "stock_quantity" in found:
            found["stock"] = found.pop("stock_quantity")
        price: dict[str, Any] = found.pop("price", {})
        return found | price


class OrderLineInSerializer(Serializer):
    product = serializers.UUIDField()
    quantity = IntegerField(min_value=1, max_value=MOST_OF_ONE, default=1)


class AddressInSerializer(Serializer):
    """`postcode` is text: it may begin with a nought."""

    name = TextField(max_length=120)
    street = TextField(max_length=200)
    complement = TextField(max_length=120, required=False, allow_blank=True)
    city = TextField(max_length=120)
    state = TextField(max_length=120, required=False, allow_blank=True)
    postcode = TextField(max_length=12)
    country = serializers.RegexField(
        r"^[A-Z]{2}$", error_messages={"invalid": "A country is two capital letters (ISO 3166)."}
    )


class OrderInSerializer(Serializer):
    items = serializers.ListField(child=OrderLineInSerializer(), allow_empty=False, max_length=MOST_LINES)
    address = AddressInSerializer()

    def validate_items(self, value: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        if len({line["product"] for line in value}) < len(value):
            raise serializers.ValidationError("Name each product once, with its quantity.", code="duplicate")
        return value

    def lines(self) -> list[Wanted]:
        return [Wanted(line["product"], line["quantity"]) for line in self.validated_data["items"]]


class OrderLineSerializer(serializers.ModelSerializer[OrderLine]):
    """Units: `amount` for one and `total` for all of them, in the order's currency, minor."""

    product = serializers.UUIDField(source="product_id")
    total = serializers.IntegerField()

    class Meta:
        model = OrderLine
        fields = ["product", "name", "quantity", "amount", "total"]
        read_only_fields = fields


class AddressSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(default="")
    street = serializers.CharField(default="")
    complement = serializers.CharField(default="")
    city = serializers.CharField(default="")
    state = serializers.CharField(default="")
    postcode = serializers.CharField(default="")
    country = serializers.CharField(default="")


class OrderSerializer(serializers.ModelSerializer[Order]):
    """`payment` is the one that paid it; `invoice_url` opens without signing in, and is made anew at each reading."""

    status = serializers.ChoiceField(choices=OrderState.choices, source="state")
    items = OrderLineSerializer(many=True, source="lines")
    total = serializers.SerializerMethodField()
    address = AddressSerializer()
    payment = serializers.UUIDField(source="payment_id", allow_null=True)
    canceled_because = serializers.SerializerMethodField()
    invoice_url = serializers.SerializerMethodField()

    class Meta:
        model = Order
        fields = [
            "id",
            "status",
            "items",
            "total",
            "address",
            "payment",
            "tracking",
            "canceled_because",
            "invoice_url",
            "expires_at",
            "confirmed_at",
            "shipped_at",
            "delivered_at",
            "canceled_at",
            "created_at",
        ]
        read_only_fields = fields

    @extend_schema_field(StorePriceSerializer)
    def get_total(self, row: Order) -> dict[str, Any]:
        return {"amount": row.amount, "currency": row.currency}

    @extend_schema_field(serializers.ChoiceField(choices=Because.choices, allow_null=True))
    def get_canceled_because(self, row: Order) -> str | None:
        return row.because or None

    @extend_schema_field(serializers.URLField(allow_null=True))
    def get_invoice_url(self, row: Order) -> str | None:
        return invoices.url_of(row)


class OrderStatusSerializer(Serializer):
    """`tracking` goes with shipped, `reason` is kept on record."""

    status = serializers.ChoiceField(choices=OrderState.choices)
    tracking = TextField(max_length=100, required=False, allow_blank=True)
    reason = TextField(max_length=500, required=False, allow_blank=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.get("tracking") and attrs["status"] != OrderState.SHIPPED:
            message = "A tracking number goes with the status shipped."
            raise serializers.ValidationError({"tracking": [serializers.ErrorDetail(message, code="not_shipped")]})
        return attrs

"""products and orders"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from billing.errors import RefundNotPossible, SalesStopped
from core.api.filters import refuse_unknown
from core.api.idempotency import idempotent
from core.api.permissions import IsVerified, Public, staff
from core.api.public import kept
from core.api.serializers import refuse_fields
from core.api.views import ViewSet
from core.errors import Conflict, PermissionDenied
from store import errors, orders, products, queries
from store.api import serializers
from store.api.filters import OrderFilter, ProductFilter
from store.models import Order, Product

_PRODUCT = OpenApiExample(
    "product",
    value={
        "name": "Juniper in a shallow pot",
        "description": "Twelve years old, wired last spring.",
        "category": "bonsai",
        "price": {"amount": 8900, "currency": "EUR"},
        "image_url": "https://shop.example.com/juniper.jpg",
        "stock_quantity": 3,
    },
    request_only=True,
)
_EDIT = OpenApiExample("stock", value={"stock_quantity": 12}, request_only=True)
_ORDER = OpenApiExample(
    "order",
    value={
        "items": [{"product": "01937a2c-1d87-7b1c-9d3e-5f6071829304", "quantity": 2}],
        "address": {
            "name": "Ana Souza",
            "street": "Rua das Flores 12",
            "city": "Sao Paulo",
            "state": "SP",
            "postcode": "01001000",
            "country": "BR",
        },
    },
    request_only=True,
)


class ProductViewSet(ListModelMixin, ViewSet):
    """Everybody reads, ops write."""

    serializer_class = serializers.ProductSerializer
    filterset_class = ProductFilter
    queryset = Product.objects.none()
    errors = {"update": [errors.StockReserved], "partial_update": [errors.StockReserved]}

    def _is_public(self) -> bool:
        action = getattr(self, "action", None) or self.action_map.get((self.request.method or "").lower())
        return action in ("list", "retrieve")

    def get_authenticators(self) -> list[Any]:
        return [] if self._is_public() else super().get_authenticators()

    def get_permissions(self) -> list[Any]:
        return [Public()] if self._is_public() else [staff("ops")()]

    def get_queryset(self) -> QuerySet[Product]:
        return queries.products()

    @extend_schema(operation_id="products_list", summary="What is for sale, newest first")
    @kept("products")
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    @extend_schema(
        operation_id="products_retrieve", summary="One product", responses=serializers.ProductSerializer, filters=False
    )
    @kept("products")
    def retrieve(self, request: Request, pk: UUID) -> Response:
        refuse_unknown(request)
        return Response(serializers.ProductSerializer(queries.product(pk)).data)

    @extend_schema(
        operation_id="products_create",
        summary="Put a product on the shelf",
        request=serializers.ProductInSerializer,
        responses={201: serializers.ProductSerializer},
        examples=[_PRODUCT],
    )
    @idempotent()
    def create(self, request: Request) -> Response:
        body = serializers.ProductInSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        made = products.create(values=body.values(), actor=request.user)
        where = {"Location": f"/api/v1/products/{made.pk}"}
        return Response(serializers.ProductSerializer(made).data, status=status.HTTP_201_CREATED, headers=where)

    @extend_schema(
        operation_id="products_update",
        summary="Change a product",
        description="The same as PATCH: what is not named stays.",
        request=serializers.ProductInSerializer(partial=True),
        responses=serializers.ProductSerializer,
        examples=[_EDIT],
    )
    def update(self, request: Request, pk: UUID) -> Response:
        body = serializers.ProductInSerializer(data=request.data, partial=True)
        body.is_valid(raise_exception=True)
        changed = products.change(product_id=pk, values=body.values(), actor=request.user)
        return Response(serializers.ProductSerializer(changed).data)

    @extend_schema(
        operation_id="products_partial_update",
        summary="Change a product",
        description=(
            "What is not named stays; orders that were placed keep their prices. `stock_quantity` is what lies on the "
            "shelf, at least what is reserved for orders that have not been shipped."
        ),
        request=serializers.ProductInSerializer(partial=True),
        responses=serializers.ProductSerializer,
        examples=[_EDIT],
    )
    def partial_update(self, request: Request, pk: UUID) -> Response:
        return self.update(request, pk)

    @extend_schema(
        operation_id="products_delete",
        summary="Take a product off the shelf",
        description="One that was ever ordered is hidden instead: PATCH `is_active` brings it back.",
        responses={204: OpenApiResponse(description="Off the shelf.")},
    )
    def destroy(self, request: Request, pk: UUID) -> Response:
        products.remove(product_id=pk, actor=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


ProcessesOrders = staff("ops", "support")


class OrderViewSet(ListModelMixin, ViewSet):
    permission_classes = [IsVerified]
    serializer_class = serializers.OrderSerializer
    filterset_class = OrderFilter
    queryset = Order.objects.none()
    throttle_scopes = {"create": ["orders"]}
    errors = {
        "list": [PermissionDenied],
        "create": [errors.OutOfStock, errors.MixedCurrencies, SalesStopped],
        "cancel": [errors.OrderShipped, RefundNotPossible, Conflict],
    }

    def get_queryset(self) -> QuerySet[Order]:
        if self.request.query_params.get("role") == "staff" and ProcessesOrders().has_permission(self.request, self):
            return queries.everybodys_orders()
        return queries.orders(self.request.user)

    @extend_schema(
        operation_id="orders_create",
        summary="Order products",
        description=(
            "Prices are ours, and all of one currency. The products are reserved until `expires_at`: pay before, with "
            "POST payments and the item `order:<id>`. Money that comes later confirms the order if its products are "
            "still there, and else goes back in full."
        ),
        request=serializers.OrderInSerializer,
        responses={201: serializers.OrderSerializer},
        examples=[_ORDER],
    )
    @idempotent(required=True)
    def create(self, request: Request) -> Response:
        body = serializers.OrderInSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        placed = orders.place(user=request.user, lines=body.lines(), address=body.validated_data["address"])
        where = {"Location": f"/api/v1/orders/{placed.pk}"}
        return Response(self._shown(placed.pk), status=status.HTTP_201_CREATED, headers=where)

    @extend_schema(
        operation_id="orders_list",
        summary="My orders, newest first",
        description="As `role=staff`, ops and support list everybody's.",
    )
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    @extend_schema(operation_id="orders_retrieve", summary="One order", responses=serializers.OrderSerializer)
    def retrieve(self, request: Request, pk: UUID) -> Response:
        return Response(self._shown(pk))

    @extend_schema(
        operation_id="orders_cancel",
        summary="Cancel an order that has not been shipped",
        description=(
            "An open payment of it is closed; what was paid goes back in full, the way it came. Money that arrives "
            "later all the same goes back too."
        ),
        request=None,
        responses={200: serializers.OrderSerializer},
    )
    def cancel(self, request: Request, pk: UUID) -> Response:
        order = queries.order(request.user, pk)
        refuse_fields(request.data)
        orders.cancel(order)
        return Response(self._shown(pk))

    def _shown(self, order_id: UUID) -> Any:
        return serializers.OrderSerializer(queries.order(self.request.user, order_id)).data


class OrderStatusViewSet(ViewSet):
    permission_classes = [ProcessesOrders]
    queryset = Order.objects.none()
    filter_backends = ()
    pagination_class = None
    errors = [errors.OrderStatusRefused, errors.OrderShipped, RefundNotPossible]

    @extend_schema(
        operation_id="orders_status",
        summary="Move an order on",
        description=(
            "confirmed → shipped → delivered, and canceled until it is shipped, with all that was paid going back. "
            "Only its payment confirms an order. The same status again changes nothing."
        ),
        request=serializers.OrderStatusSerializer,
        responses={200: serializers.OrderSerializer},
        examples=[OpenApiExample("shipped", value={"status": "shipped", "tracking": "BR123456789"}, request_only=True)],
    )
    def update(self, request: Request, pk: UUID) -> Response:
        body = serializers.OrderStatusSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        moved = orders.advance(pk, actor=request.user, **body.validated_data)
        return Response(serializers.OrderSerializer(queries.order(moved.user, pk)).data)

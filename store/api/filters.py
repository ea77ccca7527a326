"""What lists of products and orders can be filtered by."""

from __future__ import annotations

from django.db.models import F, Q, QuerySet
from django_filters import rest_framework as filters

from core.api.filters import YesNoFilter
from store.models import Order, OrderState, Product


class ProductFilter(filters.FilterSet):
    category = filters.CharFilter(max_length=40)
    search = filters.CharFilter(method="having", max_length=100)
    in_stock = YesNoFilter(method="left")

    class Meta:
        model = Product
        fields: list[str] = []

    def having(self, found: QuerySet[Product], name: str, text: str) -> QuerySet[Product]:
        return found.filter(Q(name__icontains=text) | Q(description__icontains=text))

    def left(self, found: QuerySet[Product], name: str, wanted: bool) -> QuerySet[Product]:
        return found.filter(stock__gt=F("reserved")) if wanted else found.filter(stock=F("reserved"))


ROLES = [("buyer", "buyer"), ("staff", "staff")]


class OrderFilter(filters.FilterSet):
    status = filters.MultipleChoiceFilter(field_name="state", choices=OrderState.choices)
    role = filters.ChoiceFilter(
        choices=ROLES,
        method="as_role",
        label="buyer, as without it: my own. staff: everybody's, for those who ship them.",
    )

    class Meta:
        model = Order
        fields: list[str] = []

    def as_role(self, found: QuerySet[Order], name: str, role: str) -> QuerySet[Order]:
        return found if role == "staff" else found.visible_to(self.request.user)  # type: ignore[attr-defined]

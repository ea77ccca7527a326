"""What payments and packages can be filtered by."""

from __future__ import annotations

from django_filters import rest_framework as filters

from billing.models import Package, Payment, PaymentState


class PaymentFilter(filters.FilterSet):
    status = filters.ChoiceFilter(field_name="state", choices=PaymentState.choices)
    item = filters.CharFilter(max_length=80)

    class Meta:
        model = Payment
        fields = ["status", "item"]


class PackageFilter(filters.FilterSet):
    currency = filters.CharFilter(lookup_expr="iexact", max_length=3, min_length=3)

    class Meta:
        model = Package
        fields = ["currency"]

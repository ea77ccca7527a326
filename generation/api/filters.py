"""What lists of jobs can be filtered by."""

from __future__ import annotations

from django_filters import rest_framework as filters

from core.api.filters import MomentFilter
from generation.models import Generation, Kind, State


class HeadshotFilter(filters.FilterSet):
    status = filters.MultipleChoiceFilter(field_name="state", choices=State.choices)
    created_after = MomentFilter(field_name="created_at", lookup_expr="gte")
    created_before = MomentFilter(field_name="created_at", lookup_expr="lt")

    class Meta:
        model = Generation
        fields: list[str] = []


class GenerationFilter(HeadshotFilter):
    kind = filters.ChoiceFilter(choices=Kind.choices)

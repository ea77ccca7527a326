"""What lists of jobs and avatars can be filtered by."""

from __future__ import annotations

from django.db.models import QuerySet
from django_filters import rest_framework as filters

from core.api.filters import MomentFilter
from generation.models import Avatar, AvatarStatus, Generation, Kind, State


class OneKindFilter(filters.FilterSet):
    status = filters.MultipleChoiceFilter(field_name="state", choices=State.choices)
    created_after = MomentFilter(field_name="created_at", lookup_expr="gte")
    created_before = MomentFilter(field_name="created_at", lookup_expr="lt")

    class Meta:
        model = Generation
        fields: list[str] = []


class GenerationFilter(OneKindFilter):
    kind = filters.ChoiceFilter(choices=Kind.choices)
    avatar = filters.UUIDFilter(field_name="avatar_id")


class AvatarFilter(filters.FilterSet):
    status = filters.MultipleChoiceFilter(choices=AvatarStatus.choices, method="having")

    class Meta:
        model = Avatar
        fields: list[str] = []

    def having(self, found: QuerySet[Avatar], name: str, statuses: list[str]) -> QuerySet[Avatar]:
        return found.having(*map(AvatarStatus, statuses)) if statuses else found  # type: ignore[attr-defined]

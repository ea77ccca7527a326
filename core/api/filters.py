"""Filters: each view lists its own; a parameter that nobody knows is refused, never ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import QuerySet
from django_filters.rest_framework import DjangoFilterBackend

from core.errors import Invalid, detail

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.views import APIView


class StrictFilterBackend(DjangoFilterBackend):
    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: APIView) -> QuerySet[Any]:
        filterset_class = self.get_filterset_class(view, queryset)
        known = {"page", "limit", "format"} | set(filterset_class.base_filters if filterset_class else ())
        unknown = sorted(set(request.query_params) - known)
        if unknown:
            raise Invalid(
                details=[detail("unknown_parameter", f"There is no parameter {name!r}.", name) for name in unknown]
            )
        found: QuerySet[Any] = super().filter_queryset(request, queryset, view)
        return found

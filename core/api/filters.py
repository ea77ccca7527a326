"""Filters: each view lists its own; a parameter that nobody knows is refused, never ignored."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django_filters import fields
from django_filters.rest_framework import DjangoFilterBackend, Filter, IsoDateTimeFilter
from drf_spectacular.utils import extend_schema_field

from core.api.serializers import MAX_NAMED
from core.errors import Invalid, detail

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.views import APIView


class _MomentField(fields.IsoDateTimeField):
    def to_python(self, value: Any) -> datetime | None:
        moment: datetime | None = super().to_python(value)
        try:
            return moment.astimezone(UTC) if moment else None
        except OverflowError as error:  # the first and last day that Python knows, in another zone
            raise ValidationError(self.error_messages["invalid"], code="invalid") from error


class MomentFilter(IsoDateTimeFilter):
    """A time in ISO 8601 that really exists in UTC, in which the database is asked."""

    field_class = _MomentField


class _YesNoField(forms.Field):
    def to_python(self, value: Any) -> Any:
        if value in self.empty_values:
            return None
        if value not in ("true", "false"):
            raise ValidationError("Say true or false.", code="invalid")
        return value == "true"


@extend_schema_field({"type": "boolean"})
class YesNoFilter(Filter):
    """`true` or `false`, and nothing that could also be meant so."""

    field_class = _YesNoField


def refuse_unknown(request: Request, known: Iterable[str] = ()) -> None:
    """Hold the query string against what the view knows.

    Raises: Invalid naming the first parameters that nobody reads, or that say nothing.
    """
    unknown = sorted(set(request.query_params).difference(known))[:MAX_NAMED]
    if unknown:
        raise Invalid(
            details=[detail("unknown_parameter", f"There is no parameter {name!r}.", name) for name in unknown]
        )
    empty = sorted(name for name, value in request.query_params.items() if not value)[:MAX_NAMED]
    if empty:
        raise Invalid(details=[detail("blank", f"{name} is empty; leave it out, or say what.", name) for name in empty])


class StrictFilterBackend(DjangoFilterBackend):
    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: APIView) -> QuerySet[Any]:
        filterset_class = self.get_filterset_class(view, queryset)
        refuse_unknown(
            request, {"page", "limit", "format"} | set(filterset_class.base_filters if filterset_class else ())
        )
        found: QuerySet[Any] = super().filter_queryset(request, queryset, view)
        return found

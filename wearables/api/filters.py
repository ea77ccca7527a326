"""What the catalogue can be filtered by: every facet, several values of one as `?color=Red&color=Blue`."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.validators import ProhibitNullCharactersValidator
from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema_field

from core.api.filters import YesNoFilter
from wearables import queries
from wearables.models import Wearable

MAX_VALUES = 20
MAX_LENGTH = 60


class _ValuesField(forms.Field):
    widget = forms.SelectMultiple

    def clean(self, value: Any) -> list[str]:
        given: list[str] = list(value or [])
        if len(given) > MAX_VALUES:
            raise forms.ValidationError(f"At most {MAX_VALUES} values.", code="too_many")
        for one in given:
            ProhibitNullCharactersValidator()(one)
            if len(one) > MAX_LENGTH:
                raise forms.ValidationError(f"At most {MAX_LENGTH} characters.", code="max_length")
        return given


_VALUES = {"type": "array", "items": {"type": "string", "maxLength": MAX_LENGTH}, "maxItems": MAX_VALUES}


@extend_schema_field(_VALUES)
class AnyOfFilter(filters.Filter):
    """Any of the values."""

    field_class = _ValuesField

    def filter(self, qs: QuerySet[Any], value: list[str]) -> QuerySet[Any]:
        return qs.filter(**{f"{self.field_name}__in": value}) if value else qs


@extend_schema_field(_VALUES)
class AllOfFilter(AnyOfFilter):
    """All of the values."""

    def filter(self, qs: QuerySet[Any], value: list[str]) -> QuerySet[Any]:
        return qs.filter(**{f"{self.field_name}__contains": value}) if value else qs


class WearableFilter(filters.FilterSet):
    category = AnyOfFilter()
    style = AnyOfFilter()
    color = AnyOfFilter()
    material = AnyOfFilter()
    season = AnyOfFilter()
    occasion = AnyOfFilter()
    size = AnyOfFilter()
    fit = AnyOfFilter()
    has_image = YesNoFilter()
    tags = AllOfFilter()
    # Last: whether a term is found decides how it is looked for.
    search = filters.CharFilter(method="find", max_length=100, label="Words, or beginnings of them.")

    class Meta:
        model = Wearable
        fields: list[str] = []

    def find(self, among: QuerySet[Wearable], name: str, term: str) -> QuerySet[Wearable]:
        return queries.search(among, term) if term else among

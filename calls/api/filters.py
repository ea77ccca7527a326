"""What lists of calls can be filtered by."""

from __future__ import annotations

from django.db.models import QuerySet
from django_filters import rest_framework as filters

from calls.models import Call, State

ROLES = [("caller", "caller"), ("callee", "callee")]


class CallFilter(filters.FilterSet):
    status = filters.MultipleChoiceFilter(field_name="state", choices=State.choices)
    role = filters.ChoiceFilter(choices=ROLES, method="as_role")

    class Meta:
        model = Call
        fields: list[str] = []

    def as_role(self, found: QuerySet[Call], name: str, role: str) -> QuerySet[Call]:
        return found.filter(**{role: self.request.user})

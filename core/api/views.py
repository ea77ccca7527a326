"""The base of every viewset."""

from __future__ import annotations

from typing import Any, ClassVar

from rest_framework.request import Request
from rest_framework.viewsets import GenericViewSet

from core.errors import Error


class ViewSet(GenericViewSet[Any]):
    """A viewset that names its own errors and rate limits.

    `errors`: this view's errors beyond the common ones, for all actions or per action.
    `throttle_scopes`: names in settings.RATE_LIMITS beyond `general`, for all actions or per action.
    """

    errors: ClassVar[list[type[Error]] | dict[str, list[type[Error]]]] = []
    throttle_scopes: ClassVar[list[str] | dict[str, list[str]]] = []
    lookup_value_converter = "uuid"

    def scopes(self, request: Request) -> list[str]:
        """The rate limits of this request, beyond `general`."""
        if isinstance(self.throttle_scopes, dict):
            return self.throttle_scopes.get(self.action or "", [])
        return self.throttle_scopes

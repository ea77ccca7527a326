"""Pages: `?page=&limit=`, answered as {count, next, previous, results}."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db.models import QuerySet
from rest_framework.pagination import PageNumberPagination
from rest_framework.utils.urls import remove_query_param, replace_query_param

from core.errors import Invalid, NotFound, detail

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.views import APIView

LAST_PAGE = 10**8


def whole(request: Request, name: str, default: int, low: int, high: int) -> int:
    """A whole number from the query string.

    Raises: Invalid when it is not one, or out of range.
    """
    given = request.query_params.get(name)
    if given is None:
        return default
    if not (given.isascii() and given.isdigit() and len(given) < 10 and low <= int(given) <= high):
        raise Invalid(details=[detail("out_of_range", f"{name} must be a whole number, {low} to {high}.", name)])
    return int(given)


class Pages(PageNumberPagination):
    page_size = 20
    page_query_param = "page"
    page_size_query_param = "limit"
    max_page_size = 100

    def get_page_size(self, request: Request) -> int:
        return whole(request, "limit", self.page_size, 1, self.max_page_size)

    def paginate_queryset(
        self, queryset: QuerySet[Any] | Any, request: Request, view: APIView | None = None
    ) -> list[Any] | None:
        whole(request, "page", 1, 1, LAST_PAGE)
        from rest_framework.exceptions import NotFound as PastTheEnd

        try:
            return super().paginate_queryset(queryset, request, view)
        except PastTheEnd as error:
            raise NotFound("There is no such page.") from error

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        bounds = {"page": (1, LAST_PAGE), "limit": (1, self.max_page_size)}
        found: list[dict[str, Any]] = super().get_schema_operation_parameters(view)
        for parameter in found:
            parameter["schema"]["minimum"], parameter["schema"]["maximum"] = bounds[parameter["name"]]
        return found

    def get_next_link(self) -> str | None:
        return self._link(self.page.next_page_number()) if self.page is not None and self.page.has_next() else None

    def get_previous_link(self) -> str | None:
        return (
            self._link(self.page.previous_page_number()) if self.page is not None and self.page.has_previous() else None
        )

    def _link(self, number: int) -> str:
        """Another page of this list, under our own address: the Host header is the caller's to write."""
        url = f"{settings.PUBLIC_URL}{self.request.get_full_path()}"  # type: ignore[union-attr]
        if number == 1:
            return remove_query_param(url, self.page_query_param)
        return replace_query_param(url, self.page_query_param, number)

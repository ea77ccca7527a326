"""OpenAPI 3.1: what drf-spectacular cannot see by itself."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema as Base
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse

from core import errors
from core.api.idempotency import KEY
from core.api.permissions import IsSignedIn, IsVerified
from core.api.serializers import ErrorSerializer, Serializer


class AutoSchema(Base):
    """Adds to every operation its errors, its Idempotency-Key and the answer's standard headers."""

    def get_tags(self) -> list[str]:
        return [self.path.removeprefix("/api/v1/").split("/")[0].split("{")[0] or "api"]

    def get_description(self) -> str:  # type: ignore[override]  # drf-spectacular calls it so
        """What the operation says of itself; the docstrings of our classes are not for clients."""
        return ""

    def get_override_parameters(self) -> list[Any]:
        found: list[Any] = list(super().get_override_parameters())
        method = self._method()
        if hasattr(method, "idempotency_required"):
            found.append(
                OpenApiParameter(
                    "Idempotency-Key",
                    {"type": "string", "pattern": KEY},
                    OpenApiParameter.HEADER,
                    required=method.idempotency_required,
                    description="One fresh value for each thing you want done; the same value repeats the answer.",
                )
            )
        if hasattr(self._method(), "is_kept"):
            found.append(
                OpenApiParameter(
                    "If-None-Match", str, OpenApiParameter.HEADER, description="The ETag of the answer that you kept."
                )
            )
        return found

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> Any:
        """Our bodies refuse fields that they do not know."""
        found: Any = super()._map_basic_serializer(serializer, direction)
        if direction == "request" and isinstance(serializer, Serializer):
            found["additionalProperties"] = False
        return found

    def _method(self) -> Any:
        """The view's function for this operation."""
        return getattr(self.view, getattr(self.view, "action", None) or self.method.lower(), None)

    def _get_response_bodies(self, direction: Any = "response") -> Any:
        """The operation's own answers, and one entry for each status that it can refuse with."""
        found: Any = super()._get_response_bodies(direction)
        by_status: dict[str, list[type[errors.Error]]] = {}
        for error in self._errors():
            by_status.setdefault(str(error.status), []).append(error)
        for status, kinds in sorted(by_status.items()):
            refusal = OpenApiResponse(
                ErrorSerializer,
                description="; ".join(f"`{kind.code}`" for kind in kinds),
                examples=[_example(kind) for kind in kinds],
            )
            found.setdefault(status, self._get_response_for_code(refusal, status, direction=direction))
        if hasattr(self._method(), "is_kept"):
            found["304"] = {"description": "The answer that you kept still holds."}
        return dict(sorted(found.items()))

    def _errors(self) -> list[type[errors.Error]]:
        own = getattr(self.view, "errors", [])
        if isinstance(own, dict):
            own = own.get(getattr(self.view, "action", ""), [])
        found: list[type[errors.Error]] = [errors.RateLimited, errors.Internal, errors.Unavailable, *own]
        permissions = self.view.get_permissions()
        if any(isinstance(permission, IsSignedIn) for permission in permissions):
            found.append(errors.NotAuthenticated)
        if any(isinstance(permission, IsVerified) for permission in permissions):
            found.append(errors.EmailNotVerified)
        if self.method != "GET":
            found += [errors.Invalid, errors.MalformedBody]
        elif self._is_list_view():
            found.append(errors.Invalid)
            if self._get_paginator():
                found.append(errors.NotFound)  # there is no such page
        if "{" in self.path:
            found.append(errors.NotFound)
        method = self._method()
        if hasattr(method, "idempotency_required"):
            found += [errors.IdempotencyMismatch, errors.IdempotencyInProgress, errors.Conflict]
            if method.idempotency_required:
                found.append(errors.IdempotencyKeyRequired)
        return list(dict.fromkeys(found))


def _example(kind: type[errors.Error]) -> OpenApiExample:
    return OpenApiExample(
        kind.code,
        value={
            "error": kind.code,
            "message": kind.message,
            "details": [],
            "charged": "none",
            "request_id": "0193f7a2c1d87b1c9d3e5f60718293a4",
        },
        response_only=True,
        status_codes=[str(kind.status)],
    )


class BearerScheme(OpenApiAuthenticationExtension):
    target_class = "accounts.api.authentication.TokenAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}

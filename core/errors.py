"""What can go wrong, as types: a stable code, an HTTP status and one clear sentence each.

Each app's errors.py adds its own by subclassing `Error`; the set of codes is the OpenAPI enum `ErrorCode` and has a
line each in docs/errors.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Literal

Charged = Literal["none", "held", "settled", "unknown"]
Detail = dict[str, Any]

_registry: dict[str, type[Error]] = {}


def detail(code: str, message: str, field: str | None = None, **extra: Any) -> Detail:
    """One item of an error's `details`."""
    return ({"field": field} if field else {}) | {"code": code, "message": message} | extra


class Error(Exception):
    """A refusal the client is told of. `charged` says truthfully whether money or credits moved."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    message: str = "Something went wrong on our side; nothing more is known yet."

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "code" in cls.__dict__:
            known = _registry.setdefault(cls.code, cls)
            if known.__qualname__ != cls.__qualname__ or known.__module__ != cls.__module__:
                raise TypeError(f"error code {cls.code!r} is taken by {known.__module__}.{known.__qualname__}")

    def __init__(
        self,
        message: str | None = None,
        *,
        details: Iterable[Detail] = (),
        charged: Charged = "none",
        retry_after: int | None = None,
    ) -> None:
        self.message = message or type(self).message
        self.details = list(details)
        self.charged = charged
        self.retry_after = retry_after
        super().__init__(self.message)


def registered() -> dict[str, type[Error]]:
    """Every error code that this installation can answer, sorted."""
    return dict(sorted(_registry.items()))


def codes() -> list[tuple[str, str]]:
    """The codes as choices, for the OpenAPI enum."""
    return [(code, code) for code in registered()]


class Invalid(Error):
    code = "invalid"
    status = 400
    message = "The request is not valid; `details` names what to change."


class MalformedBody(Error):
    code = "malformed_body"
    status = 400
    message = "The body is not valid JSON."


class IdempotencyKeyRequired(Error):
    code = "idempotency_key_required"
    status = 400
    message = "Send an Idempotency-Key header: one fresh value for each thing you want done."


class NotAuthenticated(Error):
    code = "not_authenticated"
    status = 401
    message = "Sign in first: send `Authorization: Bearer <access token>`."


class PermissionDenied(Error):
    code = "permission_denied"
    status = 403
    message = "You are not allowed to do this."


class EmailNotVerified(Error):
    code = "email_not_verified"
    status = 403
    message = "Confirm your e-mail address first; we can send the mail again."


class NotFound(Error):
    code = "not_found"
    status = 404
    message = "There is nothing here."


class MethodNotAllowed(Error):
    code = "method_not_allowed"
    status = 405
    message = "This address does not take that method."


class NotAcceptable(Error):
    code = "not_acceptable"
    status = 406
    message = "We answer in JSON only."


class Conflict(Error):
    code = "conflict"
    status = 409
    message = "Something else is changing this right now; try again."


class IdempotencyMismatch(Error):
    code = "idempotency_mismatch"
    status = 409
    message = "This Idempotency-Key was used for another request; use a fresh one."


class IdempotencyInProgress(Error):
    code = "idempotency_in_progress"
    status = 409
    message = "The first request with this Idempotency-Key is still running; try again."


class TooLarge(Error):
    code = "too_large"
    status = 413
    message = "The body is too large."


class UnsupportedMediaType(Error):
    code = "unsupported_media_type"
    status = 415
    message = "Send the body as application/json."


class ImageUnreadable(Error):
    code = "image_unreadable"
    status = 400
    message = "The picture is damaged or cut off."


class TooManyPixels(Error):
    code = "too_many_pixels"
    status = 413
    message = "The picture has too many pixels."


class RateLimited(Error):
    code = "rate_limited"
    status = 429
    message = "Too many requests; wait and try again."


class Internal(Error):
    code = "internal_error"
    status = 500
    message = "Something went wrong on our side; we have been told."


class BadGateway(Error):
    code = "bad_gateway"
    status = 502
    message = "A service we depend on gave no usable answer."


class Unavailable(Error):
    code = "unavailable"
    status = 503
    message = "This part of the service is unavailable right now; try again."

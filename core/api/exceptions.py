"""Every refusal under /api/ leaves through here, in one envelope."""

from __future__ import annotations

import sys
from typing import Any

import structlog
from django.core.exceptions import DisallowedHost, RequestDataTooBig, SuspiciousOperation, TooManyFieldsSent
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from rest_framework import exceptions as drf
from rest_framework.response import Response

from core import context, errors
from core.api.renderers import encode
from core.locks import is_lock_timeout

log = structlog.get_logger("error")

SAFE = ("GET", "HEAD", "OPTIONS")


def envelope(error: errors.Error) -> dict[str, Any]:
    """The body that describes the error."""
    return {
        "error": error.code,
        "message": error.message,
        "details": error.details,
        "charged": error.charged,
        "request_id": context.current().request_id,
    }


def headers(error: errors.Error) -> dict[str, str]:
    """The headers that go with the error."""
    found = {}
    if error.retry_after is not None or error.status in (429, 503):
        found["Retry-After"] = str(error.retry_after or 1)
    if error.status == 401:
        found["WWW-Authenticate"] = 'Bearer realm="api"'
    return found


def as_error(error: Exception) -> errors.Error | None:
    """Our error for any that a view can raise; None for one that nobody foresaw."""
    match error:
        case errors.Error():
            return error
        case Http404() | drf.NotFound():
            return errors.NotFound()
        case drf.ValidationError():
            return errors.Invalid(details=_flatten(error.get_full_details()))
        case drf.NotAuthenticated() | drf.AuthenticationFailed():
            return errors.NotAuthenticated()
        case DjangoPermissionDenied() | drf.PermissionDenied():
            return errors.PermissionDenied()
        case drf.MethodNotAllowed():
            return errors.MethodNotAllowed()
        case drf.NotAcceptable():
            return errors.NotAcceptable()
        case drf.UnsupportedMediaType():
            return errors.UnsupportedMediaType()
        case drf.ParseError():
            return errors.MalformedBody(str(error.detail))
        case RequestDataTooBig():
            return errors.TooLarge()
        case TooManyFieldsSent():
            return errors.Invalid("The request has too many fields.")
        case DisallowedHost():
            return errors.Invalid("The Host header is none of this installation's.")
        case SuspiciousOperation():
            return errors.Invalid()
    return None


def handle(error: Exception, info: dict[str, Any]) -> Response | None:
    """DRF's exception handler. None lets Django's handler500 answer, after the stack is logged."""
    known = as_error(error)
    if isinstance(error, drf.UnsupportedMediaType):
        known = errors.UnsupportedMediaType(_wanted(info.get("view")))
    if known is None:
        known = _ours(error, info.get("request"))
    return Response(envelope(known), status=known.status, headers=headers(known))


def _ours(error: Exception, request: Any) -> errors.Error:
    """What is no refusal of ours: a lock not had in time, the database away, or what nobody foresaw.

    Earlier transactions and calls of the same request may have done their work, and a commit's answer may be lost.
    """
    has_begun = request is not None and request.method not in SAFE and hasattr(request, "_user")
    charged: errors.Charged = "unknown" if has_begun else "none"
    if is_lock_timeout(error):
        return errors.Conflict(charged=charged, retry_after=1)
    if isinstance(error, OperationalError | InterfaceError):
        log.error("database_away", error=str(error).partition("\n")[0])  # no stack: every request meets it
        return errors.Unavailable(charged=charged, retry_after=5)
    log.error("unhandled", exc_info=error)
    return errors.Internal(charged=charged)


def _wanted(view: Any) -> str | None:
    """What the view takes, as a sentence; None for the usual one."""
    taken = [parser.media_type for parser in view.get_parsers()] if view is not None else []
    return f"Send the body as {' or '.join(taken)}." if taken else None


def _flatten(found: Any, field: str = "") -> list[errors.Detail]:
    """DRF's nested details as a flat list with dotted field names."""
    if isinstance(found, dict) and set(found) == {"message", "code"}:
        name = "" if field in ("", "non_field_errors") else field
        return [errors.detail(str(found["code"]), str(found["message"]), name or None)]
    if isinstance(found, dict):
        return [
            item for name, inner in found.items() for item in _flatten(inner, f"{field}.{name}" if field else str(name))
        ]
    items: list[errors.Detail] = []
    for position, inner in enumerate(found):
        is_leaf = isinstance(inner, dict) and set(inner) == {"message", "code"}
        items += _flatten(inner, field if is_leaf or not inner else f"{field}.{position}")
    return items


def respond(error: errors.Error) -> HttpResponse:
    """The same envelope outside DRF."""
    return HttpResponse(
        encode(envelope(error)), status=error.status, headers=headers(error), content_type="application/json"
    )


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """handler404: the envelope under /api/, Django's page elsewhere."""
    if request.path.startswith("/api/"):
        return respond(errors.NotFound())
    from django.views.defaults import page_not_found

    return page_not_found(request, exception or Http404())


def server_error(request: HttpRequest) -> HttpResponse:
    """handler500: the envelope under /api/, Django's page elsewhere; 503 while the database is away."""
    if request.path.startswith("/api/"):
        return respond(errors.Internal(charged="none" if request.method in SAFE else "unknown"))
    if isinstance(sys.exception(), OperationalError | InterfaceError):
        away = errors.Unavailable(retry_after=5)
        return HttpResponse(away.message, status=away.status, headers=headers(away), content_type="text/plain")
    from django.views.defaults import server_error as page

    return page(request)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler400: a host or a body that Django refuses before any view."""
    if request.path.startswith("/api/"):
        return respond(as_error(exception) or errors.Invalid())
    from django.views.defaults import bad_request as page

    return page(request, exception)

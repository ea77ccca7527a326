"""One DRF throttle over the table of limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from rest_framework.throttling import BaseThrottle

from core import context, idempotency, ratelimit

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.views import APIView


class Throttle(BaseThrottle):
    """`general` and then the view's own `throttle_scopes`; the tightest is told in the RateLimit headers."""

    def allow_request(self, request: Request, view: APIView) -> bool:
        if not settings.RATELIMIT_ENABLE:
            return True
        scopes = view.scopes(request) if hasattr(view, "scopes") else []
        if scopes and _is_repetition(request):
            scopes = []  # asking again with the same key is the same act, and was counted
        tightest: ratelimit.Usage | None = None
        for scope in ("general", *scopes):
            found = ratelimit.check(request._request, scope, _value(request, settings.RATE_LIMITS[scope][2]))
            if found and (tightest is None or found.remaining < tightest.remaining):
                tightest = found
        request._request.rate_limit = tightest  # type: ignore[attr-defined]  # told by core.middleware
        return True


def _is_repetition(request: Request) -> bool:
    """Whether the request's Idempotency-Key has already begun something that stays."""
    key = request.headers.get("Idempotency-Key", "")
    user: Any = request.user
    return bool(key and user.is_authenticated) and idempotency.is_known(
        user_id=user.pk, method=request.method or "", route=request.path, key=key
    )


def _value(request: Request, by: str) -> str:
    """Whom the limit counts."""
    user: Any = request.user
    if by == "session":
        token: Any = request.auth
        return str(getattr(token, "session_id", "") or context.current().ip)
    if by in ("user", "user_or_ip") and user.is_authenticated:
        return str(user.pk)
    return context.current().ip or "unknown"

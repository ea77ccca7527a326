"""Rate limits: one table in settings, django-ratelimit's windows, counters in Redis in one round trip."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import structlog
from django.conf import settings
from django.core.cache.backends.base import BaseCache
from django.http import HttpRequest
from django_ratelimit.core import get_usage

from core import redis
from core.errors import RateLimited, Unavailable

log = structlog.get_logger("security")

# One atomic step; Django's own Redis cache needs three round trips to add or increment.
_COUNT = """
local n = redis.call('INCRBY', KEYS[1], ARGV[1])
if n == tonumber(ARGV[1]) then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
return n
"""


class Counters(BaseCache):
    """The narrow cache that django-ratelimit counts in: `add` counts and remembers, `incr` and `get` tell."""

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(params)
        self._seen = threading.local()

    def add(self, key: str, value: Any, timeout: Any = None, version: int | None = None) -> bool:
        name = self.make_key(key, version=version)
        client = redis.client()
        if value:
            self._seen.count = int(client.eval(_COUNT, 1, name, value, int(timeout)))
        else:
            self._seen.count = int(client.get(name) or 0)
        return False

    def incr(self, key: str, delta: int = 1, version: int | None = None) -> int:
        count: int = self._seen.count
        return count

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        return self._seen.count


@dataclass(frozen=True, slots=True)
class Usage:
    """How much of a limit is used. Units: seconds."""

    scope: str
    limit: int
    period_s: int
    remaining: int
    reset_s: int
    exceeded: bool


def usage(request: HttpRequest, scope: str, value: str, *, count: bool = True) -> Usage | None:
    """Count (or only look at) one use of the scope by `value`; None when limits are off or Redis is away.

    Raises: Unavailable without Redis, for the scopes of RATE_LIMITS_FAIL_CLOSED.
    """
    limit, period_s, _ = settings.RATE_LIMITS[scope]
    try:
        found = get_usage(
            request,
            group=scope,
            key=lambda group, request: value,
            rate=f"{limit}/{period_s}s",
            increment=count,
        )
    except redis.Error as error:
        log.warning("rate_limit_unknown", scope=scope, error=type(error).__name__)
        if scope in settings.RATE_LIMITS_FAIL_CLOSED:
            raise Unavailable("This cannot be counted right now; try again.", retry_after=5) from error
        return None
    if found is None:
        return None
    return Usage(
        scope,
        limit,
        period_s,
        max(0, limit - found["count"]),
        max(1, found["time_left"]),
        found["count"] > limit if count else found["count"] >= limit,
    )


def check(request: HttpRequest, scope: str, value: str, *, count: bool = True) -> Usage | None:
    """Like `usage`, but refuses when the limit is exceeded.

    Raises: RateLimited, Unavailable.
    """
    found = usage(request, scope, value, count=count)
    if found and found.exceeded:
        log.warning("rate_limited", scope=scope, value=value)
        raise RateLimited(retry_after=found.reset_s)
    return found

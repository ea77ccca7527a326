"""How fast and whether at all we call a provider: a token bucket and a circuit breaker, both in Redis.

They spare the provider; no promise rests on them. With Redis away or flushed everything is let through.
"""

from __future__ import annotations

from contextlib import suppress

import structlog
from django.conf import settings

from core import redis

log = structlog.get_logger("throughput")

_FAILURES = 5  # in a row, within a minute
_OPEN_S = 30

# One key, one atomic step, Redis' own clock: the time at which the bucket would be full again (GCRA).
_TAKE = """
local now = redis.call('TIME')
local t = now[1] * 1000 + math.floor(now[2] / 1000)
local gap, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or t), t)
local wait = full_at + gap - burst * gap - t
if wait > 0 then return math.ceil(wait) end
redis.call('SET', KEYS[1], full_at + gap, 'PX', math.ceil(full_at + gap - t) + 1000)
return 0
"""


def take(provider: str) -> float:
    """Take one call's worth from the provider's bucket. Returns 0, or how long to wait for one.

    Units: seconds.
    """
    rate = settings.PROVIDER_RATES.get(provider)
    if rate is None:
        return 0
    calls, per_s = rate
    with suppress(redis.Error):
        gap_ms = per_s * 1000 / calls
        waited = redis.client().eval(_TAKE, 1, f"atelier:bucket:{provider}", gap_ms, calls)
        return float(waited) / 1000
    return 0


def is_open(provider: str) -> bool:
    """Whether the breaker holds calls back because the provider has just failed many times in a row."""
    with suppress(redis.Error):
        return bool(redis.client().exists(f"atelier:breaker:{provider}:open"))
    return False


def report(provider: str, *, answered: bool) -> None:
    """Tell the breaker how a call went. Any answer closes it; five failures in a row open it for 30 s."""
    failures, opened = f"atelier:breaker:{provider}:failures", f"atelier:breaker:{provider}:open"
    with suppress(redis.Error):
        client = redis.client()
        if answered:
            client.delete(failures, opened)
            return
        count = client.incr(failures)
        client.expire(failures, 60)
        if int(count) >= _FAILURES and client.set(opened, "1", ex=_OPEN_S, nx=True):
            log.warning("breaker_opened", provider=provider, failures=int(count))


def trip(provider: str, reason: str) -> None:
    """Open the breaker at once: the provider refuses our account, so every call would be wasted."""
    log.error("provider_misconfigured", provider=provider, reason=reason)
    with suppress(redis.Error):
        redis.client().set(f"atelier:breaker:{provider}:open", "1", ex=_OPEN_S)

"""How fast and whether at all we call a provider: a token bucket and a circuit breaker, both in Redis.

They spare the provider; no promise rests on them. With Redis away or flushed everything is let through.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from django.conf import settings

from core import redis

log = structlog.get_logger("throughput")

T = TypeVar("T")

_FAILURES = 5  # in a row, within a minute
_OPEN_S = 30
_DO_WITHOUT_S = 5

# Until when this process does without Redis: one that hangs would else cost a second for each of two hundred jobs.
_away_until = 0.0

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


def _ask(question: Callable[[], T], otherwise: T) -> T:
    """Redis' answer, or `otherwise` while it is away."""
    global _away_until
    if time.monotonic() < _away_until:
        return otherwise
    try:
        return question()
    except redis.Error as error:
        _away_until = time.monotonic() + _DO_WITHOUT_S
        log.warning("redis_away", error=type(error).__name__)
        return otherwise


def take(provider: str) -> float:
    """Take one call's worth from the provider's bucket. Returns 0, or how long to wait for one.

    Units: seconds.
    """
    rate = settings.PROVIDER_RATES.get(provider)
    if rate is None:
        return 0
    calls, per_s = rate
    key, gap_ms = f"atelier:bucket:{provider}", per_s * 1000 / calls
    return _ask(lambda: float(redis.client().eval(_TAKE, 1, key, gap_ms, calls)) / 1000, otherwise=0.0)


def is_open(provider: str) -> bool:
    """Whether the breaker holds calls back because the provider has just failed many times in a row."""
    return _ask(lambda: bool(redis.client().exists(f"atelier:breaker:{provider}:open")), otherwise=False)


def report(provider: str, *, answered: bool) -> None:
    """Tell the breaker how a call went. Any answer closes it; five failures in a row open it for 30 s."""
    failures, opened = f"atelier:breaker:{provider}:failures", f"atelier:breaker:{provider}:open"

    def tell() -> None:
        client = redis.client()
        if answered:
            client.delete(failures, opened)
            return
        count = int(client.incr(failures))
        client.expire(failures, 60)
        if count >= _FAILURES and client.set(opened, "1", ex=_OPEN_S, nx=True):
            log.warning("breaker_opened", provider=provider, failures=count)

    _ask(tell, otherwise=None)


def trip(provider: str, reason: str) -> None:
    """Open the breaker at once: the provider refuses our account, so every call would be wasted."""
    log.error("provider_misconfigured", provider=provider, reason=reason)
    _ask(lambda: redis.client().set(f"atelier:breaker:{provider}:open", "1", ex=_OPEN_S), otherwise=None)

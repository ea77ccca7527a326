"""How fast and whether at all we call a provider: a token bucket and a circuit breaker, both in Redis.

They spare the provider; no promise rests on them. With Redis away or flushed everything is let through.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar, cast

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
local gap, burst, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or t), t)
local room = math.floor((t + burst * gap - full_at) / gap + 0.000001)
local taken = math.max(0, math.min(room, wanted))
if taken > 0 then
  full_at = full_at + taken * gap
  redis.call('SET', KEYS[1], full_at, 'PX', math.ceil(full_at - t) + 1000)
end
return {taken, math.max(1, math.ceil(full_at + gap - burst * gap - t))}
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


def take(provider: str, wanted: int = 1) -> list[float]:
    """Take so many calls' worth from the provider's bucket. Returns how long each is to wait: 0 for what was taken, and
    for the others until the bucket will have refilled so far.

    Units: seconds.
    """
    rate = settings.PROVIDER_RATES.get(provider)
    if rate is None:
        return [0] * wanted
    burst, per_s = rate
    key, gap_ms = f"atelier:bucket:{provider}", per_s * 1000 / burst
    taken, wait_ms = _ask(
        lambda: cast(list[int], redis.client().eval(_TAKE, 1, key, gap_ms, burst, wanted)), otherwise=[wanted, 0]
    )
    return [0.0] * taken + [(wait_ms + gap_ms * n) / 1000 for n in range(wanted - taken)]


def is_open(provider: str) -> bool:
    """Whether the breaker holds calls back because the provider has just failed many times in a row."""
    return _ask(lambda: bool(redis.client().exists(f"atelier:breaker:{provider}:open")), otherwise=False)


def report(provider: str, *, answered: bool, times: int = 1) -> None:
    """Tell the breaker how so many calls went. Any answer closes it; five failures in a row open it for 30 s."""
    failures, opened = f"atelier:breaker:{provider}:failures", f"atelier:breaker:{provider}:open"

    def tell() -> None:
        client = redis.client()
        if answered:
            client.delete(failures, opened)
            return
        count = int(client.incr(failures, times))
        client.expire(failures, 60)
        if count >= _FAILURES and client.set(opened, "1", ex=_OPEN_S, nx=True):
            log.warning("breaker_opened", provider=provider, failures=count)

    _ask(tell, otherwise=None)


def trip(provider: str, reason: str) -> None:
    """Open the breaker at once: the provider refuses our account, so every call would be wasted."""
    log.error("provider_misconfigured", provider=provider, reason=reason)
    _ask(lambda: redis.client().set(f"atelier:breaker:{provider}:open", "1", ex=_OPEN_S), otherwise=None)

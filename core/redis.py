"""The one Redis connection pool of the process. Redis may be lost at any time: callers say what then."""

from __future__ import annotations

from functools import lru_cache

import redis
from django.conf import settings

Error = redis.RedisError


@lru_cache(maxsize=1)
def client() -> redis.Redis:
    """A pooled client with one-second time-outs.

    Raises: redis.RedisError from its calls when Redis is away.
    """
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1, decode_responses=True)

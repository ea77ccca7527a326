"""The commands of our own long-running processes."""

from __future__ import annotations

import sys
from collections.abc import Iterable


def web(*, host: str, port: int, threads: int) -> list[str]:
    """One web process. Threads mostly wait for PostgreSQL and Redis, so there are more of them than cores (ADR 28)."""
    return [
        *(sys.executable, "-m", "granian", "--interface", "wsgi", "--host", host, "--port", str(port)),
        *("--workers", "1", "--blocking-threads", str(threads), "--no-ws", "config.wsgi:application"),
    ]


def worker(queues: Iterable[str]) -> list[str]:
    """One worker of these queues."""
    return [
        *(sys.executable, "-W", "ignore:You're running the worker with superuser privileges"),
        *("-m", "celery", "-A", "config", "--quiet", "worker", "--pool", "threads", "--concurrency", "8"),
        *("-Q", ",".join(queues), "--without-gossip", "--without-mingle", "--loglevel", "INFO"),
    ]


def beat() -> list[str]:
    """The one beat."""
    return [
        *(sys.executable, "-m", "celery", "-A", "config", "--quiet", "beat", "--pidfile", ""),
        *("--loglevel", "WARNING"),
    ]

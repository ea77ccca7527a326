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


# Who serves which queues: a call that lasts, or a day's arithmetic, must not keep mail and webhooks waiting.
WORKERS: dict[str, tuple[tuple[str, ...], int]] = {
    "worker": (("default", "providers", "mail", "webhooks"), 8),
    "worker-sync": (("providers_sync",), 8),
    "worker-bulk": (("bulk",), 2),  # a 3D model takes one thread for hours, and there is one at a time
}


def worker(queues: Iterable[str], *, concurrency: int = 8) -> list[str]:
    """One worker of these queues, with so many threads."""
    return [
        *(sys.executable, "-W", "ignore:You're running the worker with superuser privileges"),
        *("-m", "celery", "-A", "config", "--quiet", "worker", "--pool", "threads"),
        *("--concurrency", str(concurrency)),
        *("-Q", ",".join(queues), "--without-gossip", "--without-mingle", "--loglevel", "INFO"),
    ]


def beat() -> list[str]:
    """The one beat."""
    return [
        *(sys.executable, "-m", "celery", "-A", "config", "--quiet", "beat", "--pidfile", ""),
        *("--loglevel", "WARNING"),
    ]

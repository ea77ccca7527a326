from __future__ import annotations

from core import idempotency, jobs


@jobs.task("core.purge")
def purge() -> None:
    idempotency.purge()

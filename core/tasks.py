from __future__ import annotations

from core import files, idempotency, jobs


@jobs.task("core.purge")
def purge() -> None:
    idempotency.purge()


@jobs.task("core.remove_files")
def remove_files() -> None:
    files.remove_expired()

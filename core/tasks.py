from __future__ import annotations

from core import files, idempotency, jobs, tallies


@jobs.task("core.purge")
def purge() -> None:
    idempotency.purge()


@jobs.task("core.remove_files")
def remove_files() -> None:
    files.remove_expired()


@jobs.task("core.fold_tallies")
def fold_tallies() -> None:
    tallies.fold()

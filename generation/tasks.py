"""Wake-ups. What they find to do is in the tables."""

from __future__ import annotations

from core import jobs
from generation.engine import bulk
from generation.engine.advance import advance as make_pass
from generation.engine.sweep import sweep as clean_up


@jobs.task("generation.advance", queue="providers")
def advance() -> None:
    make_pass("providers")


@jobs.task("generation.advance_sync", queue="providers_sync")
def advance_sync() -> None:
    make_pass("providers_sync")


@jobs.task("generation.advance_bulk", queue="bulk")
def advance_bulk() -> None:
    bulk.work()


@jobs.task("generation.sweep", queue="default")
def sweep() -> None:
    clean_up()

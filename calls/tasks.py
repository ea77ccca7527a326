"""Wake-ups. What they find to do is in the tables."""

from __future__ import annotations

from calls import tending
from core import jobs


@jobs.task("calls.tend")
def tend() -> None:
    tending.tend()


@jobs.task("calls.tend_rooms", queue="providers")
def tend_rooms() -> None:
    tending.tend_rooms()

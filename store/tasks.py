from __future__ import annotations

from core import jobs
from store import unpaid


@jobs.task("store.give_up_orders", queue="providers")
def give_up_orders() -> None:
    unpaid.sweep()

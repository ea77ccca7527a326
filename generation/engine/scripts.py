"""Running many jobs' steps at once: queries on this thread, calls to the outside on a few others.

A script is a generator that yields a call and is resumed with its result (or thrown its error). Between two yields it
has the database to itself, so a script reads from top to bottom like the story of its job.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Any

import structlog
from django.db import connection

log = structlog.get_logger("engine")

THREADS = 16

Call = Callable[[], Any]
Script = Generator[Call, Any, None]


def run(scripts: Iterable[Script]) -> None:
    """Run all scripts to their ends. One that breaks is logged and leaves the others alone: its lease will lapse."""
    running: dict[Future[Any], Script] = {}
    with ThreadPoolExecutor(THREADS, thread_name_prefix="engine") as pool:

        def resume(script: Script, step: Call) -> None:
            try:
                call = step()
            except StopIteration:
                return
            except Exception:
                # Whatever went wrong, the row is still leased to us and will be taken up again.
                log.exception("script_failed", script=getattr(script, "__qualname__", "?"))
                connection.close_if_unusable_or_obsolete()
                return
            running[pool.submit(call)] = script

        for script in scripts:
            resume(script, partial(next, script))
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                script = running.pop(future)
                error = future.exception()
                resume(script, partial(script.throw, error) if error else partial(script.send, future.result()))

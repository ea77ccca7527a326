"""Running many jobs' steps at once: queries on this thread, calls to the outside on a few others.

A script is a generator that yields a call and is resumed with its result (or thrown its error). Between two yields it
has the database to itself, so a script reads from top to bottom like the story of its job. Around a call that lasts
longer than a lease it yields the call and what is to be done every few seconds meanwhile. It may return scripts that
go on from where it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from django.db import connection

log = structlog.get_logger("engine")

THREADS = 16

BEAT_S = 2.0

Call = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Lasting:
    """A call that may take hours. `beat` runs on the scripts' own thread meanwhile, so it may ask the database."""

    call: Call
    beat: Call


Script = Generator[Call | Lasting, Any, Any]


def run(scripts: Iterable[Script]) -> None:
    """Run all scripts to their ends. One that breaks is logged and leaves the others alone: its lease will lapse."""
    running: dict[Future[Any], Script] = {}
    beats: dict[Future[Any], Call] = {}
    with ThreadPoolExecutor(THREADS, thread_name_prefix="engine") as pool:

        def resume(script: Script, step: Callable[[], Call | Lasting]) -> None:
            try:
                call = step()
            except StopIteration as end:
                for following in end.value or ():
                    resume(following, partial(next, following))
                return
            except Exception:
                # Whatever went wrong, the row is still leased to us and will be taken up again.
                log.exception("script_failed", script=getattr(script, "__qualname__", "?"))
                connection.close_if_unusable_or_obsolete()
                return
            # In a context of its own: what it logs and traces belongs to the task, and threads inherit none.
            future = pool.submit(copy_context().run, call.call if isinstance(call, Lasting) else call)
            running[future] = script
            if isinstance(call, Lasting):
                beats[future] = call.beat

        for script in scripts:
            resume(script, partial(next, script))
        while running:
            done, _ = wait(running, timeout=BEAT_S if beats else None, return_when=FIRST_COMPLETED)
            for future in done:
                script = running.pop(future)
                beats.pop(future, None)
                error = future.exception()
                resume(script, partial(script.throw, error) if error else partial(script.send, future.result()))
            for beat in beats.values():
                _alone(beat)


def _alone(beat: Call) -> None:
    """A beat that fails (the database restarts, say) is only a beat left out."""
    try:
        beat()
    except Exception:
        log.exception("beat_failed")
        connection.close_if_unusable_or_obsolete()

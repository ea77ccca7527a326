"""A process that does one of its acts when told to: orders come in as lines of JSON, each is answered with one.

Imports nothing but the standard library: peers run it in environments of their own.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def obey(acts: Mapping[str, Callable[[], None]], check: Callable[[], None], *, threads: int = 64) -> None:
    """Read orders, do them by at most so many threads, answer each with one line."""
    workers = ThreadPoolExecutor(threads)  # kept: each thread has its own database connection, opened once
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        try:
            if order.get("check"):
                check()
                print(json.dumps({"checked": True}), flush=True)
            else:
                done = _do_for(workers, acts[order["act"]], order["threads"], order["seconds"])
                print(json.dumps(done), flush=True)
        except Exception as error:
            print(json.dumps({"error": repr(error)}), flush=True)


def _do_for(workers: ThreadPoolExecutor, act: Callable[[], None], threads: int, seconds: float) -> dict[str, Any]:
    end = time.perf_counter() + seconds

    def loop() -> int:
        done = 0
        while time.perf_counter() < end:
            act()
            done += 1
        return done

    began = time.perf_counter()
    done = sum(found.result() for found in [workers.submit(loop) for _ in range(threads)])
    return {"done": done, "took_s": time.perf_counter() - began}

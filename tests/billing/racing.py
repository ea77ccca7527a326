"""Functions run at the same moment, each on a connection of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connection


def race(*functions: Callable[[], Any]) -> list[Any]:
    """What each function answered, or the exception that it raised, in the order given."""
    gate = threading.Barrier(len(functions))

    def run(function: Callable[[], Any]) -> Any:
        try:
            connection.ensure_connection()
            gate.wait(timeout=60)
            return function()
        except Exception as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(functions)) as pool:
        return list(pool.map(run, functions))


def crowd(workers: int, tasks: Sequence[Callable[[], Any]]) -> list[Any]:
    """Many tasks by a few workers at once; answers and exceptions as `race`."""
    queue = list(enumerate(tasks))
    answers: list[Any] = [None] * len(tasks)
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                if not queue:
                    return
                position, task = queue.pop()
            try:
                answers[position] = task()
            except Exception as error:
                answers[position] = error

    race(*[work] * workers)
    return answers

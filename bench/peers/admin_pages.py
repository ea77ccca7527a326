"""Asks an admin for pages, and tells as JSON what each has cost: `python -m bench.peers.admin_pages <times> <pages>`.

Run under the settings of whose admin is meant. `pages` is {name: {"path", "finds"}}: what the answer has to have in it.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import django


def main(times: int, pages: dict[str, dict[str, str]]) -> None:
    django.setup()
    from django.test import Client

    from accounts.models import User

    client = Client(headers={"host": "localhost"})
    client.force_login(User.objects.get(is_superuser=True))
    found = {name: ask(client, times=times, **page) for name, page in pages.items()}
    print(json.dumps(found))


def ask(client: Any, *, path: str, finds: str, times: int) -> dict[str, Any]:
    """The seconds of CPU of each whole answer, of this process and of the one that serves it; how many queries."""
    from django.core.cache import cache
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with connection.cursor() as cursor:
        cursor.execute("SET max_parallel_workers_per_gather = 0")  # else others would work unseen
        cursor.execute("SELECT pg_backend_pid()")
        [server] = cursor.fetchone()
    cache.clear()
    with CaptureQueriesContext(connection) as queries:
        answer = client.get(path)
        asked = len(queries)
    assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.headers.get('location')}"
    assert finds in answer.content.decode(), f"{path} has not found {finds}"
    took = []
    for _ in range(times):
        cache.clear()  # what is kept for a while is counted anew
        began, wall = cpu_s(server), time.perf_counter()
        client.get(path)
        took.append((cpu_s(server) - began, time.perf_counter() - wall))
    return {"cpu_s": [one for one, _ in took], "wall_s": [one for _, one in took], "queries": asked}


def cpu_s(server: int) -> float:
    """What this process has used and the one that serves it, which Linux tells in nanoseconds."""
    return time.process_time() + int(Path(f"/proc/{server}/schedstat").read_text().split()[0]) / 1e9


if __name__ == "__main__":
    main(int(sys.argv[1]), json.loads(sys.argv[2]))

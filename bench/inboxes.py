"""Our inbox from behind: `python -m bench.inboxes handle <number>|check`, answered with one line of JSON."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import django

django.setup()

from django.db import connection  # noqa: E402  Django had to be set up first

from inbox import deliveries  # noqa: E402
from inbox.models import Delivery  # noqa: E402


def handle(many: int) -> dict[str, Any]:
    began, done = time.perf_counter(), 0
    while done < many:
        found = deliveries.handle_due()
        if not found:
            break
        done += found
    return {"done": done, "took_s": time.perf_counter() - began}


def check() -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), count(DISTINCT body), count(*) FILTER (WHERE sha256 <> sha256(body)),"
            " count(*) FILTER (WHERE handled_at IS NOT NULL AND state = 'ignored') FROM inbox_delivery"
        )
        stored, distinct, spoilt, handled = cursor.fetchone()
    spoilt += Delivery.objects.filter(state__in=["failed", "dead"]).count()
    return {"stored": stored, "distinct": distinct, "spoilt": spoilt, "handled": handled}


if __name__ == "__main__":
    print(json.dumps(handle(int(sys.argv[2])) if sys.argv[1] == "handle" else check()))

"""The scrape of /metrics over many jobs and mails, and what counting costs a change: `python -m bench.metrics`.

- A scrape at 10⁶ rows of each over one at 10⁴ (`--rows`); beside it, the same figures counted from the tables.
- A change of a job's state in a transaction of its own, with the trigger that counts it over without.

Commits do not wait for the disk: that wait is the same for all and would hide what is compared.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

from bench import rounds, servers
from config.embedded import postgres

GOAL_FLAT = 1.2
MINUTE = 10_000  # what comes between two times of adding up
_JOBS = """
INSERT INTO generation_generation (id, user_id, kind, operation, provider, model, terms, params, price, round, state,
    unknown, progress, step, deadline_at, next_at, error_code, error_message, was_submitted, finished_at)
SELECT gen_random_uuid(), %(user)s, 'image', 'image', 'xai', 'm', '{}', '{}', 5, 1,
    CASE WHEN n %% 10 = 0 THEN 'failed' ELSE 'succeeded' END, false, 100, '', now(), NULL,
    CASE WHEN n %% 10 = 0 THEN 'provider_failed' ELSE '' END, '', true, now()
FROM generate_series(%(first)s, %(last)s) n
"""
_MAILS = """
INSERT INTO notifications_mail (id, cause, name, "to", context, state, attempts, subject, provider_message_id,
    error_code, error)
SELECT gen_random_uuid(), 'bench:' || n, 'welcome', n || '@example.test', '{}', 'delivered', 1, '', '', '', ''
FROM generate_series(%(first)s, %(last)s) n
"""
_COUNTED = (
    "SELECT kind, provider, state, count(*) FROM generation_generation GROUP BY 1, 2, 3",
    "SELECT name, state, count(*) FROM notifications_mail GROUP BY 1, 2",
)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=9)
    arguments.add_argument("--changes", type=int, default=500, help="of each contender in each round")
    arguments.add_argument("--rows", default="10000,1000000", help="smallest first")
    chosen = arguments.parse_args()
    small, large = (int(rows) for rows in chosen.rows.split(","))
    with servers.running(postgres.DURABLE | {"synchronous_commit": "off", "max_wal_size": "8GB"}) as server:
        environment = {"ENVIRONMENT": "development", "DEBUG": "false"}
        servers.lay_out(environment | {"DATABASE_URL": server.database_url(), "REDIS_URL": server.redis_url()})
        raise SystemExit(0 if _measure(small, large, times=chosen.rounds, many=chosen.changes) else 1)


def _measure(small: int, large: int, *, times: int, many: int) -> bool:
    from django.db import connection
    from prometheus_client.utils import floatToGoString

    from accounts.models import User
    from core import metrics, tallies

    user = User.objects.create_user("bench@example.test", None)
    took: dict[int, dict[str, list[float]]] = {}
    before = 0
    with connection.cursor() as cursor:
        for rows in (small, large):
            for last in range(before + MINUTE, rows + 1, MINUTE):
                for statement in (_JOBS, _MAILS):
                    cursor.execute(statement, {"user": user.pk, "first": last - MINUTE + 1, "last": last})
                tallies.fold()
                cursor.execute("VACUUM core_tally")  # as autovacuum does
            cursor.execute("VACUUM ANALYZE")
            took[rows] = rounds.run({"scrape": lambda: _timed(metrics.scrape), "tables": _count}, rounds=times)
            before = rows
        told = metrics.scrape().decode()
        assert f'emails_total{{name="welcome",state="delivered"}} {floatToGoString(large)}\n' in told, told
        flat = rounds.ratio(took[large]["scrape"], took[small]["scrape"])
        print(f"{'a scrape, from ' + f'{small:,} to {large:,} rows':<58} {flat}   goal ≤ {GOAL_FLAT:g}")
        counted = rounds.ratio(took[large]["tables"], took[small]["tables"])
        print(f"{'  the figures counted from the tables':<58} {counted}")
        beside = rounds.ratio(took[large]["scrape"], took[large]["tables"])
        print(f"{'  a scrape beside counting, with the many':<58} {beside}")
        moved = rounds.run({"on": lambda: _move(cursor, many, "ENABLE"), "off": lambda: _move(cursor, many, "DISABLE")},
                           rounds=times)  # fmt: skip
        print(f"{'a change of state, counted beside uncounted':<58} {rounds.ratio(moved['on'], moved['off'])}")
    return flat.median <= GOAL_FLAT


def _timed(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _count() -> float:
    from django.db import connection

    with connection.cursor() as cursor:
        return _timed(lambda: [cursor.execute(statement) for statement in _COUNTED])


def _move(cursor: Any, many: int, how: str) -> float:
    """Take jobs back to failed and on again, one at a time."""
    cursor.execute(f"ALTER TABLE generation_generation {how} TRIGGER tally_moved")
    cursor.execute("SELECT id FROM generation_generation WHERE state = 'failed' LIMIT %s", [many])
    ids = [row[0] for row in cursor.fetchall()]
    began = time.perf_counter()
    for job in ids:
        cursor.execute("UPDATE generation_generation SET state = 'canceled', error_code = '' WHERE id = %s", [job])
    return time.perf_counter() - began


if __name__ == "__main__":
    main()

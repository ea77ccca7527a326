"""The audit log: what an entry costs, what a page of it costs, what proving it costs: `python -m bench.audit`.

- `changes`: one change of a row in a transaction, with the actor and the request told of, by `audit.record`, by one
  plain INSERT through the ORM, django-auditlog, django-simple-history and django-pghistory: all in one process, inside
  our own project, on one database. What counts is what each adds to the change alone.
- `pages`: the console's list over 10⁴, 10⁶ and 10⁷ rows (`--rows`): its first page, each search and a day of it, whole
  answers as a browser gets them; and the scrape of /metrics.
- `proof`: sealing 10⁶ rows and verifying them.

Commits do not wait for the disk: that wait is the same for all and would hide what is compared.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

from bench import peers, rounds, servers
from config.embedded import postgres

PINS = Path(__file__).parent / "requirements-audit.txt"
GOAL_ADDS, GOAL_FLAT = 0.15, 1.2
PARTS = ("changes", "pages", "proof")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("parts", nargs="*", default=PARTS, help=f"of {', '.join(PARTS)}")
    arguments.add_argument("--rounds", type=int, default=9)
    arguments.add_argument("--changes", type=int, default=400, help="of each contender in each round")
    arguments.add_argument("--rows", default="10000,1000000,10000000", help="of the lists, smallest first")
    arguments.add_argument("--absolute", action="store_true", help="also print this machine's own figures")
    chosen = arguments.parse_args()
    settings = postgres.DURABLE | {"synchronous_commit": "off", "max_wal_size": "8GB"}
    with servers.running(settings) as server:
        environment = {
            "ENVIRONMENT": "development",
            "DEBUG": "false",
            "LOG_JSON": "true",
            "DATABASE_URL": server.database_url(),
            "REDIS_URL": server.redis_url(),
        }
        passed = []
        if "changes" in chosen.parts:
            passed.append(changes(environment, chosen.rounds, chosen.changes, absolute=chosen.absolute))
        if "pages" in chosen.parts or "proof" in chosen.parts:
            environment |= {"DATABASE_URL": server.database_url("lists"), "AUDIT_SEAL_LAG_S": "0"}
            environment |= {"MEDIA_ROOT": str(servers.VAR / "media")}
            servers.lay_out(environment)
        if "pages" in chosen.parts:
            passed += pages([int(rows) for rows in chosen.rows.split(",")])
        if "proof" in chosen.parts:
            proof()
    raise SystemExit(0 if all(passed) else 1)


def changes(environment: dict[str, str], times: int, many: int, *, absolute: bool) -> bool:
    """What each adds to a change, over what django-auditlog adds."""
    python = peers.python_before_atelier(PINS)
    inherited = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    own = {"DJANGO_SETTINGS_MODULE": "bench.peers.audit_settings", "PYTHONPATH": str(servers.ROOT)}
    with (servers.VAR / "audit.log").open("w") as log:
        done = subprocess.run(
            [python, peers.HERE / "audited_changes.py", str(times), str(many)],
            env=inherited | environment | own,
            stdout=subprocess.PIPE,
            stderr=log,  # where our lines are written, as an operator's are
            text=True,
            check=True,
        )
    found: dict[str, list[list[float]]] = json.loads(done.stdout.splitlines()[-1])
    passed = [
        tell(what, {name: [one[place] for one in each] for name, each in found.items()}, absolute=absolute)
        for place, what in enumerate(("the median's time", "CPU, PostgreSQL's included"))
    ]
    return passed[1]  # on a machine that others use, too, only this one can be told from the weather


def tell(what: str, took: dict[str, list[float]], *, absolute: bool) -> bool:
    bare = took.pop("nothing")
    adds = {name: [one - alone for one, alone in zip(each, bare, strict=True)] for name, each in took.items()}
    ours = rounds.ratio(adds["atelier"], adds["auditlog"])
    print(f"{'an entry beside django-auditlog by ' + what:<62} {ours}   goal ≤ {GOAL_ADDS:g}: {_met(ours.median)}")
    for name in ("insert", "simple-history", "pghistory"):
        print(f"{'  beside ' + name:<62} {rounds.ratio(adds['atelier'], adds[name])}")
    if absolute:
        print(f"  the change alone: {statistics.median(bare) * 1e6:.0f} µs")
        for name, each in adds.items():
            print(f"  {name} adds {statistics.median(each) * 1e6:.0f} µs")
    return ours.median <= GOAL_ADDS


# A thousand people, each with an address of their own; forty actions, of which one is as rare as it is old.
_FILL = """
INSERT INTO audit_auditlog (id, at, action, entity_type, entity_id, user_id, actor_id, source, request_id, old, new,
    metadata, detail_hash)
SELECT 1000 + n, now() - make_interval(secs => (%(rows)s - n) * 3), CASE WHEN n %% 100000 = 7 THEN 'thing.rare' ELSE
    'thing.done' || n %% 40 END, 'thing', md5((n / 8)::text)::uuid, md5((n %% 1000)::text)::uuid,
    md5((n %% 1000)::text)::uuid, 'API', md5(n::text), '{"state": "a"}', '{"state": "b", "amount": 50}', '{}',
    sha256(decode(md5(n::text), 'hex') || convert_to('["10.0.' || n %% 1000 / 250 || '.' || n %% 250
        || '","Mozilla/5.0 (X11)",{}]', 'UTF8'))
FROM generate_series(%(first)s, %(rows)s) n
"""
_FILL_DETAILS = """
INSERT INTO audit_auditdetail (log_id, salt, ip, user_agent, personal)
SELECT 1000 + n, decode(md5(n::text), 'hex'), ('10.0.' || n %% 1000 / 250 || '.' || n %% 250)::inet,
    'Mozilla/5.0 (X11)', '{}' FROM generate_series(%(first)s, %(rows)s) n
"""
LISTS = {
    "first page": "",
    "a person": "user={user}",
    "an actor": "actor={user}",
    "an action": "action=thing.done7",
    "a rare action": "action=thing.rare",
    "an entity": "entity={entity}",
    "an address": "ip=10.0.1.7",
    "a request": "request={request}",
    "a day": "since={since}&until={until}",
    "a person's day": "user={user}&since={since}&until={until}",
    "what follows": "before={before}",
}


def pages(sizes: list[int]) -> list[bool]:
    """Whole answers of the list, and of /metrics, at each size; the last beside the one before."""
    from django.test import Client

    from accounts.models import User

    boss = Client(headers={"host": "localhost"})
    boss.force_login(User.objects.create_superuser("boss@example.test", "correct horse battery"))
    took: dict[str, list[list[float]]] = {}
    for rows in sizes:
        fill(rows)
        for name, query in {name: address(query) for name, query in LISTS.items()}.items():
            took.setdefault(name, []).append(ask(boss, f"/admin/audit/auditlog/?{query}"))
        took.setdefault("/metrics", []).append(ask(boss, "/metrics"))
    passed = []
    for name, at_each in took.items():
        told = ", ".join(f"{statistics.median(each) * 1000:.0f}" for each in at_each)
        found = statistics.median(at_each[-1]) / statistics.median(at_each[-2] if len(at_each) > 1 else at_each[-1])
        passed.append(found <= GOAL_FLAT)
        print(
            f"{name:<16} {told} ms at {sizes} rows; last {found:.2f} x   goal ≤ {GOAL_FLAT}: {_met(found, GOAL_FLAT)}"
        )
    return passed


def fill(rows: int) -> None:
    """Bring the log to so many rows; indexes are made afterwards, as they would be found after years all the same."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT greatest(max(id) - 1000, 0) + 1 FROM audit_auditlog")
        span = {"first": cursor.fetchone()[0] or 1, "rows": rows}
        cursor.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename IN ('audit_auditlog', 'audit_auditdetail')"
            " AND indexname NOT LIKE %s",
            ["%_pkey"],
        )
        indexes = cursor.fetchall()
        for name, _ in indexes:
            cursor.execute(f'DROP INDEX "{name}"')
        cursor.execute(_FILL, span)
        cursor.execute("SET session_replication_role = replica")  # no look for each detail's row, which is there
        cursor.execute(_FILL_DETAILS, span)
        cursor.execute("SET session_replication_role = origin")
        for _, made in indexes:
            cursor.execute(made)
        cursor.execute("SELECT setval(pg_get_serial_sequence('audit_auditlog', 'id'), max(id)) FROM audit_auditlog")
        for table in ("audit_auditlog", "audit_auditdetail"):
            cursor.execute(f"VACUUM ANALYZE {table}")


def address(query: str) -> str:
    """The query with somebody and some time from the middle of what there is."""
    from datetime import timedelta

    from audit.models import AuditLog

    first, last = AuditLog.objects.earliest("at", "id"), AuditLog.objects.filter(action="thing.done7").latest("at")
    row = AuditLog.objects.filter(at__gte=first.at + (last.at - first.at) / 2).order_by("at", "id")[0]
    day = timedelta(days=1) if last.at - first.at > timedelta(days=2) else timedelta(hours=1)
    return query.format(
        user=row.user_id,
        entity=row.entity_id,
        request=row.request_id,
        since=f"{row.at - day:%Y-%m-%d %H:%M:%S}",
        until=f"{row.at:%Y-%m-%d %H:%M:%S}",
        before=row.pk,
    )


def ask(client: Any, path: str, times: int = 15) -> list[float]:
    """The seconds of CPU of each whole answer: of this process and of the one that serves it."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [server] = cursor.fetchone()
    took = []
    for turn in range(times + 3):
        began = cpu_s(server)
        answer = client.get(path)
        assert answer.status_code == 200
        assert path == "/metrics" or b"/change/" in answer.content, f"{path} found nothing"
        if turn >= 3:  # warm
            took.append(cpu_s(server) - began)
    return took


def cpu_s(server: int) -> float:
    """What this process has used and the one that serves it, which Linux tells in nanoseconds."""
    return time.process_time() + int(Path(f"/proc/{server}/schedstat").read_text().split()[0]) / 1e9


def proof(rows: int = 1_000_000) -> None:
    """Seal so many rows and verify them."""
    from django.db import connection

    from audit import sealing, verification

    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM audit_auditlog")
        [there] = cursor.fetchone()
    if there < rows:
        fill(rows)
    began = time.perf_counter()
    sealed = sealing.seal_due()
    sealed_s = time.perf_counter() - began
    print(f"sealed {sealed} rows in {sealed_s:.0f} s: {sealed / sealed_s:.0f} a second")
    began = time.perf_counter()
    report = verification.verify()
    took_s = time.perf_counter() - began
    assert report.is_clean, report.findings[:3]
    assert (report.rows, report.erased) == (sealed, 0)
    print(f"verified {report.rows} rows in {took_s:.0f} s: {report.rows / took_s:.0f} a second")


def _met(found: float, goal: float = GOAL_ADDS) -> str:
    return "met" if found <= goal else "MISSED"


if __name__ == "__main__":
    main()

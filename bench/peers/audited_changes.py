"""One change of a row, in a transaction, with its entry in an audit log: `python audited_changes.py ROUNDS CHANGES`.

Run by an interpreter that holds bench/requirements-audit.txt and Atelier, under bench.peers.audit_settings. Every
contender is told who acts, from where and in which request as its own middleware does, for each change anew. Answers
with the seconds of a change, by contender and round, in JSON.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import django

django.setup()

import pghistory  # noqa: E402  Django had to be set up first
from auditlog.cid import set_cid  # noqa: E402
from auditlog.context import set_actor  # noqa: E402
from auditlog.models import LogEntry  # noqa: E402
from django.apps import apps  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection, transaction  # noqa: E402
from django.test import RequestFactory  # noqa: E402
from simple_history.models import HistoricalRecords  # noqa: E402

import audit  # noqa: E402
from accounts.models import User  # noqa: E402
from audit.models import AuditLog  # noqa: E402
from bench import rounds  # noqa: E402
from bench.peers.customers import models  # noqa: E402
from core import context  # noqa: E402

PEOPLE = 500
IP, AGENT = "203.0.113.7", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
_turns = count()
call_command("migrate", verbosity=0)
call_command("migrate", verbosity=0, run_syncdb=True)  # the table of each contender
ACTOR = User.objects.create(email="staff@example.test")
with connection.cursor() as asked:
    asked.execute("SELECT pg_backend_pid()")
    [SERVER] = asked.fetchone()
ROWS = {
    model: model.objects.bulk_create(
        model(name=f"Customer {n}", email=f"{n}@example.test", city="Lagos", status="active", note="x" * 200)
        for n in range(PEOPLE)
    )
    for model in (models.Unwatched, models.Inserted, models.Ours, models.Logged, models.Historied, models.Tracked)
}


def change(row: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    old = {"status": row.status, "credits": row.credits}
    row.status = "paused" if row.status == "active" else "active"
    row.credits += 1
    row.save()
    return old, {"status": row.status, "credits": row.credits}


def insert(row: Any) -> None:
    old, new = change(row)
    models.Entry.objects.create(
        action="customer.updated",
        entity_type="customer",
        entity_id=str(row.pk),
        actor_id=ACTOR.pk,
        source="ADMIN",
        request_id="a" * 32,
        old=old,
        new=new,
        ip=IP,
        user_agent=AGENT,
    )


def ours(row: Any) -> None:
    old, new = change(row)
    audit.record("customer.updated", row, old=old, new=new)


def ours_request() -> AbstractContextManager[Any]:
    return context.use(request_id="a" * 32, ip=IP, user_agent=AGENT, source="ADMIN", actor_id=ACTOR.pk)


@contextmanager
def auditlog_request() -> Any:
    set_cid(REQUEST)
    with set_actor(actor=ACTOR, remote_addr=IP, remote_port=50000):
        yield


@contextmanager
def history_request() -> Any:
    HistoricalRecords.context.request = REQUEST
    try:
        yield
    finally:
        del HistoricalRecords.context.request


def pghistory_request() -> AbstractContextManager[Any]:
    return pghistory.context(user=str(ACTOR.pk), url="/admin/customers/", ip=IP, user_agent=AGENT, request="a" * 32)


REQUEST = RequestFactory().post("/admin/customers/", REMOTE_ADDR=IP, HTTP_USER_AGENT=AGENT)
REQUEST.user = ACTOR


def measure(model: Any, do: Callable[[Any], Any], request: Callable[[], Any], changes: int) -> tuple[float, float]:
    """The seconds of the median change, and those of CPU that each took of us and of PostgreSQL together."""
    rows, took, began_cpu = ROWS[model], [], cpu_s()
    for _ in range(changes):
        row = rows[next(_turns) % PEOPLE]
        began = time.perf_counter()
        with request(), transaction.atomic():
            do(row)
        took.append(time.perf_counter() - began)
    return statistics.median(took), (cpu_s() - began_cpu) / changes


def cpu_s() -> float:
    """What this process has used and the one that serves it, which Linux tells in nanoseconds."""
    return time.process_time() + int(Path(f"/proc/{SERVER}/schedstat").read_text().split()[0]) / 1e9


def main() -> None:
    times, changes = int(sys.argv[1]), int(sys.argv[2])
    contenders = {
        "nothing": partial(measure, models.Unwatched, change, nullcontext),
        "insert": partial(measure, models.Inserted, insert, nullcontext),
        "atelier": partial(measure, models.Ours, ours, ours_request),
        "auditlog": partial(measure, models.Logged, change, auditlog_request),
        "simple-history": partial(measure, models.Historied, change, history_request),
        "pghistory": partial(measure, models.Tracked, change, pghistory_request),
    }
    for contender in contenders.values():
        contender(50)  # warm
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    found = rounds.run({name: partial(each, changes) for name, each in contenders.items()}, rounds=times)
    made = times * changes + 50
    events = apps.get_model("customers", "TrackedEvent").objects.filter(pgh_context__metadata__user=str(ACTOR.pk))
    assert AuditLog.objects.filter(action="customer.updated", actor_id=ACTOR.pk, detail__ip=IP).count() == made
    assert models.Entry.objects.filter(actor_id=ACTOR.pk).count() == made
    assert LogEntry.objects.filter(action=1, actor=ACTOR, remote_addr=IP).count() == made
    assert models.Historied.history.filter(history_type="~", history_user=ACTOR).count() == made
    assert events.count() == made
    print(json.dumps(found))


if __name__ == "__main__":
    main()

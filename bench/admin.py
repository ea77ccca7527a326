"""The ops console over big tables, beside Django's own admin: `python -m bench.admin [parts]`.

- `payments`, `jobs`, `audit`: the list, its search and a stretch of time, at each number of `--rows`, and the same by
  a stock ModelAdmin with the same columns, search and order.
- `people`: home, one customer's page and the search box; stock admin has none of them.

What counts is seconds of CPU of whole answers, the database's included, all in one run: on a machine that others use,
time would tell of them. There are a tenth as many people as rows, and a row every three seconds.
So 10⁴ rows are eight hours, and 10⁶ a month: home, which sums up a stretch of time, is flat only beyond that.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from typing import Any

from bench import servers
from config.embedded import postgres

GOAL_FLAT, GOAL_STOCK, GOAL_QUERIES = 1.5, 50.0, 15
GOALS_AT = 10_000_000  # rows; at fewer only the number of queries decides
PARTS = ("payments", "jobs", "audit", "people")
EVERY_S = 3
Pages = dict[str, dict[str, str]]
Figures = dict[str, dict[str, Any]]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("parts", nargs="*", default=PARTS, help=f"of {', '.join(PARTS)}")
    arguments.add_argument("--rows", default="10000,1000000", help="of each table, smallest first")
    arguments.add_argument("--times", type=int, default=9, help="each page is asked for")
    arguments.add_argument("--stock-times", type=int, default=3, help="0 leaves the stock admin out")
    arguments.add_argument("--explain", action="store_true", help="nothing is measured; the tables stay until Enter")
    chosen = arguments.parse_args()
    settings = postgres.DURABLE | {"synchronous_commit": "off", "max_wal_size": "2GB", "maintenance_work_mem": "512MB"}
    with servers.running(settings) as server:
        environment = {
            "ENVIRONMENT": "development",
            "DEBUG": "false",
            "DATABASE_URL": server.database_url(),
            "REDIS_URL": server.redis_url(),
            "MEDIA_ROOT": str(servers.VAR / "media"),
        }
        servers.lay_out(environment)
        sizes = [int(rows) for rows in chosen.rows.split(",")]
        ours: list[Figures] = []
        stock: Figures = {}
        for rows in sizes:
            somebody = fill(rows, chosen.parts)
            print(f"{rows:,} rows, {size()}", flush=True)
            if chosen.explain:
                input(environment["DATABASE_URL"])
                continue
            pages = pages_of(chosen.parts, somebody)
            ours.append(measure("config.settings", environment, chosen.times, pages))
            if rows == sizes[-1] and chosen.stock_times:
                theirs = stock_pages(chosen.parts, somebody)
                stock = measure("bench.peers.stock_settings", environment, chosen.stock_times, theirs)
        passed = [tell(name, sizes, [each[name] for each in ours], stock.get(name)) for name in (ours or [{}])[0]]
    raise SystemExit(0 if all(passed) else 1)


def tell(name: str, sizes: list[int], found: list[dict[str, Any]], stock: dict[str, Any] | None) -> bool:
    each = [statistics.median(one["cpu_s"]) for one in found]
    queries = max(one["queries"] for one in found)
    flat = each[-1] / each[-2 if len(each) > 1 else -1]
    lines = [f"last beside the one before {flat:.2f} x   goal ≤ {GOAL_FLAT:g}: {_met(flat <= GOAL_FLAT)}"]
    passed = [flat <= GOAL_FLAT, queries <= GOAL_QUERIES]
    if stock:
        beside = statistics.median(stock["cpu_s"]) / each[-1]
        passed.append(beside >= GOAL_STOCK)
        lines.append(
            f"stock costs {beside:.0f} x ({stock['queries']} queries)   goal ≥ {GOAL_STOCK:g}: {_met(passed[-1])}"
        )
    lines.append(f"{queries} queries   goal ≤ {GOAL_QUERIES}: {_met(passed[1])}")
    told = ", ".join(f"{one * 1000:.0f}" for one in each)
    print(f"{name:<24} {told} ms at {sizes}; " + "; ".join(lines), flush=True)
    return all(passed) if sizes[-1] >= GOALS_AT else passed[1]


def _met(is_met: bool) -> str:
    return "met" if is_met else "MISSED"


def measure(settings: str, environment: dict[str, str], times: int, pages: Pages) -> Figures:
    """What each page costs, in a process of those settings."""
    if not pages:
        return {}
    done = subprocess.run(
        [sys.executable, "-m", "bench.peers.admin_pages", str(times), json.dumps(pages)],
        env=os.environ | environment | {"DJANGO_SETTINGS_MODULE": settings, "LOG_LEVEL": "ERROR"},
        cwd=servers.ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: Figures = json.loads(done.stdout.splitlines()[-1])
    return found


# --- The pages --------------------------------------------------------------------------------------------------------

LISTS = {"payments": "billing/payment", "jobs": "generation/generation", "audit": "audit/auditlog"}


def pages_of(parts: list[str], one: dict[str, str]) -> Pages:
    """Ours: `one` names a row of each kind from the middle."""
    span = f"created_at__gte={one['since']}&created_at__lt={one['until']}"
    found: Pages = {}
    for part, searched in {
        "payments": {"by gateway's id": one["ref"], "by address": one["email"], "by id": one["payment"]},
        "jobs": {"by provider's id": one["job_ref"], "by address": one["email"], "by id": one["job"]},
    }.items():
        if part in parts:
            base = f"/admin/{LISTS[part]}/"
            found[f"{part}: list"] = {"path": base, "finds": "/change/"}
            found |= {
                f"{part}: {how}": {"path": f"{base}?q={what}", "finds": "/change/"} for how, what in searched.items()
            }
            found[f"{part}: a day"] = {"path": f"{base}?{span}", "finds": "/change/"}
            found[f"{part}: a state"] = {"path": f"{base}?state__exact=failed", "finds": "/change/"}
    if "audit" in parts:
        base = f"/admin/{LISTS['audit']}/"
        found["audit: list"] = {"path": base, "finds": "/change/"}
        found["audit: an entity"] = {"path": f"{base}?entity={one['entity']}", "finds": "/change/"}
        found["audit: a request"] = {"path": f"{base}?request={one['request']}", "finds": "/change/"}
        day = f"since={one['since']}&until={one['until']}"
        found["audit: a day"] = {"path": f"{base}?{day}", "finds": "/change/"}
    if "people" in parts:
        found["home"] = {"path": "/admin/", "finds": "What needs a human now"}
        found["home: 90 days"] = {"path": "/admin/?span=90d", "finds": "What needs a human now"}
        found["customer"] = {"path": f"/admin/customer/{one['user']}/", "finds": "What happened"}
        found["people: list"] = {"path": "/admin/accounts/user/", "finds": "/change/"}
        found["find: a name"] = {"path": "/admin/find/?q=someb", "finds": "hits"}
    return found


def stock_pages(parts: list[str], one: dict[str, str]) -> Pages:
    """The same questions to Django's own lists."""
    found = {name: page for name, page in pages_of(parts, one).items() if ":" in name and "home" not in name}
    found = {name: page for name, page in found.items() if not name.startswith("find")}
    base = f"/admin/{LISTS['audit']}/"
    day = f"at__gte={one['since']}&at__lt={one['until']}"
    for name, query in {"an entity": f"q={one['entity']}", "a request": f"q={one['request']}", "a day": day}.items():
        if f"audit: {name}" in found:
            found[f"audit: {name}"] = {"path": f"{base}?{query}", "finds": "/change/"}
    return found


# --- The rows ---------------------------------------------------------------------------------------------------------

_AT = f"(%(now)s::timestamptz - make_interval(secs => (%(rows)s - k) * {EVERY_S}))"


def _id(salt: str) -> str:
    """A UUIDv7 of the row's moment."""
    return (
        f"(lpad(to_hex((extract(epoch FROM {_AT}) * 1000)::bigint), 12, '0') || '7'"
        f" || substr(md5(k || '{salt}'), 1, 3) || '8' || substr(md5(k || '{salt}'), 4, 15))::uuid"
    )


_USER = "md5('person' || (k %% (%(rows)s / 10)))::uuid"
_PEOPLE = """
INSERT INTO accounts_user (id, created_at, updated_at, password, is_superuser, email, first_name, last_name, bio,
    locale, status, verified_at, epoch, is_staff)
SELECT md5('person' || k)::uuid, now() - make_interval(secs => k * 30), now(), '!', false,
    'somebody' || k || '@example.com', 'Somebody' || k, 'Of' || k, '', '', 'active', now(), 0, false
FROM generate_series(%(first)s, %(rows)s / 10 - 1) k
"""
_WALLETS = """
INSERT INTO billing_wallet (id, created_at, user_id, kind, unit, balance, held, frozen, updated_at)
SELECT md5('wallet' || k)::uuid, now(), md5('person' || k)::uuid, 'credits', 'CREDIT', 100, 0, 0, now()
FROM generate_series(%(first)s, %(rows)s / 10 - 1) k
"""
# Of each kind: one row made by the ORM is copied, with these columns its own.
COPIES: dict[str, dict[str, dict[str, str]]] = {
    "payments": {
        "billing.Payment": {
            "id": _id("payment"),
            "created_at": _AT,
            "updated_at": _AT,
            "user_id": _USER,
            "state": "CASE WHEN k %% 50 = 0 THEN 'failed' ELSE r.state END",
        },
        "billing.PaymentStart": {
            "id": _id("start"),
            "created_at": _AT,
            "payment_id": _id("payment"),
            "reference": "'ref-' || k",
            "ref": "'order_' || k",
        },
    },
    "jobs": {
        "generation.Generation": {
            "id": _id("job"),
            "created_at": _AT,
            "round_started_at": _AT,
            "finished_at": f"{_AT} + interval '20 seconds'",
            "deadline_at": f"{_AT} + interval '1 hour'",
            "user_id": _USER,
            "state": "CASE WHEN k %% 50 = 0 THEN 'failed' ELSE r.state END",
            "error_code": "CASE WHEN k %% 50 = 0 THEN 'provider_failed' ELSE '' END",
        },
        "generation.Attempt": {
            "id": _id("attempt"),
            "created_at": _AT,
            "generation_id": _id("job"),
            "token": "'at_' || md5(k::text)",
            "provider_job_id": "'job_' || k",
        },
    },
    "audit": {
        "audit.AuditLog": {
            "id": "1000 + k",
            "at": _AT,
            "entity_id": "md5((k / 8)::text)::uuid::text",
            "user_id": _USER,
            "actor_id": _USER,
            "request_id": "md5(k::text)",
            "action": "'thing.done' || k %% 40",
        },
    },
    "people": {
        "billing.LedgerTransaction": {
            "id": _id("posting"),
            "created_at": _AT,
            "key": "'posting:' || k",
        },
        "billing.LedgerEntry": {
            "id": "1000 + k",
            "transaction_id": _id("posting"),
            "wallet_id": "md5('wallet' || (k %% (%(rows)s / 10)))::uuid",
        },
        "notifications.Mail": {
            "id": _id("mail"),
            "created_at": _AT,
            "cause": "'cause:' || k",
            "user_id": _USER,
        },
    },
}


def fill(rows: int, parts: list[str]) -> dict[str, str]:
    """The tables at that size, with statistics as after years, and a row of each from the middle."""
    from django.apps import apps
    from django.db import connection

    from accounts.models import User

    boss = User.objects.filter(is_superuser=True).first()
    boss = boss or User.objects.create_superuser("boss@example.test", "correct horse battery")
    wanted = {label: own for part in _filled(parts) for label, own in COPIES[part].items()}
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM accounts_user WHERE email LIKE 'somebody%%'")
        span = {"first": cursor.fetchone()[0], "rows": rows}
        cursor.execute("SELECT now()::text")
        span |= {"now": cursor.fetchone()[0]}  # one moment for all, as the ids are made of it
        cursor.execute("SET session_replication_role = replica")  # neither foreign keys nor guards are asked
        cursor.execute(_PEOPLE, span)
        cursor.execute(_WALLETS, span)
        tables = [apps.get_model(label)._meta.db_table for label in wanted]
        cursor.execute(f"TRUNCATE {', '.join(tables)} CASCADE")
        for model, row in templates(boss):
            if model._meta.label in wanted:
                copy(cursor, model, row, wanted[model._meta.label], span)
        cursor.execute("SET session_replication_role = origin")
        for table in (*tables, "accounts_user", "billing_wallet"):
            cursor.execute(f"VACUUM ANALYZE {table}")
        return middle(cursor, span)


def _filled(parts: list[str]) -> list[str]:
    """A customer's page and home ask every table."""
    return list(PARTS) if "people" in parts else parts


def copy(cursor: Any, model: Any, row: Any, own: dict[str, str], span: dict[str, Any]) -> None:
    """Insert the row, copy it, and index it afterwards, as it would be indexed after years all the same."""
    table = model._meta.db_table
    cursor.execute(
        "SELECT indexname, indexdef FROM pg_indexes i WHERE tablename = %s"
        " AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conname = i.indexname)",
        [table],
    )
    indexes = cursor.fetchall()
    for name, _ in indexes:
        cursor.execute(f'DROP INDEX "{name}"')
    row.save(force_insert=True)
    names = [field.column for field in model._meta.concrete_fields]
    columns = ", ".join(f'"{name}"' for name in names)
    values = ", ".join(own.get(name, f'r."{name}"') for name in names)
    cursor.execute(
        f"INSERT INTO {table} ({columns}) SELECT {values} FROM {table} r, generate_series(1, %(rows)s) k"
        " WHERE r.id = %(copied)s",
        span | {"copied": row.pk},
    )
    cursor.execute(f"DELETE FROM {table} WHERE id = %s", [row.pk])
    for _, made in indexes:
        cursor.execute(made)


def templates(boss: Any) -> list[tuple[Any, Any]]:
    """A row of each kind, as most of them are."""
    from datetime import UTC, datetime

    from audit.models import AuditLog
    from billing.models import LedgerEntry, LedgerTransaction, Payment, PaymentStart
    from core.ids import new_id
    from generation.models import Attempt, Generation
    from notifications.models import Mail

    at = datetime.now(UTC)
    payment = Payment(
        user=boss, item="package:BASIC", fulfils="credits", title="Basic, 100 credits", credits=100, granted=100,
        gateway="razorpay", amount=49_900, currency="INR", state="succeeded", received=49_900, fulfilment="fulfilled",
        expires_at=at, settled_at=at,
    )  # fmt: skip
    job = Generation(
        user=boss, kind="headshot", operation="headshot", provider="magic-hour", model="m", price=50, deadline_at=at,
        terms={"price": 50, "provider": "magic-hour"}, params={"style_prompt": "A portrait in daylight"},
        state="succeeded", next_at=None, finished_at=at, was_submitted=True,
    )  # fmt: skip
    posting = LedgerTransaction(kind="grant", key="-", unit="CREDIT", subject_type="user", subject_id=new_id())
    return [
        (Payment, payment),
        (PaymentStart, PaymentStart(payment=payment, n=1, gateway="razorpay", reference="-", ref="-", amount=49_900,
                                    currency="INR")),
        (Generation, job),
        (Attempt, Attempt(generation=job, round=1, n=1, provider="magic-hour", model="m", token="-",
                          provider_job_id="-", outcome="succeeded", latency_ms=900, provider_cost=1)),
        (AuditLog, AuditLog(id=1, action="thing.done", entity_type="thing", entity_id="-", source="API",
                            request_id="-", new={"state": "b", "amount": 50}, metadata={})),
        (LedgerTransaction, posting),
        (LedgerEntry, LedgerEntry(id=1, transaction=posting, wallet_id=new_id(), amount=5, balance_after=5)),
        (Mail, Mail(cause="-", name="headshot-generated", to="somebody@example.com", state="delivered",
                    subject="It is ready", sent_at=at, purged_at=at)),
    ]  # fmt: skip


def middle(cursor: Any, span: dict[str, Any]) -> dict[str, str]:
    """Names of somebody and something from the middle, and the day until then."""
    rows = span["rows"]
    half = rows // 2
    cursor.execute(
        f"SELECT {_USER}::text, {_id('payment')}::text, {_id('job')}::text, md5((k / 8)::text)::uuid::text,"
        " md5(k::text),"
        f" ({_AT} AT TIME ZONE 'UTC')::timestamp(0)::text"
        " FROM (SELECT %(half)s::bigint) AS one (k)",
        span | {"half": half},
    )
    user, _, _, entity, request, until = cursor.fetchone()
    named = {"user": user, "entity": entity, "request": request, "ref": f"order_{half}", "job_ref": f"job_{half}"}
    cursor.execute("SELECT email FROM accounts_user WHERE id = %s", [user])
    named["email"] = cursor.fetchone()[0]
    for name, table, column, ref in (
        ("payment", "billing_paymentstart", "payment_id", named["ref"]),
        ("job", "generation_attempt", "generation_id", named["job_ref"]),
    ):
        key = "ref" if name == "payment" else "provider_job_id"
        cursor.execute(f"SELECT {column}::text FROM {table} WHERE {key} = %s", [ref])
        named[name] = (cursor.fetchone() or ("",))[0]
    cursor.execute(
        "SELECT to_char(at, form), to_char(at - interval '1 day' * %s, form)"
        ' FROM (SELECT %s::timestamp, \'YYYY-MM-DD"T"HH24:MI:SS"Z"\') AS one (at, form)',
        [1 if rows > 100_000 else 0.1, until],
    )
    return named | dict(zip(("until", "since"), cursor.fetchone(), strict=True))


def size() -> str:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_size_pretty(pg_database_size(current_database()))")
        return str(cursor.fetchone()[0])


if __name__ == "__main__":
    main()

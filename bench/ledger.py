"""Spending and granting credits: our public functions beside PostgreSQL itself, the ORM way and django-hordak.

`python -m bench.ledger`. One PostgreSQL, the same people and amounts, at 1, 8 and 32 clients. Four acts: `spend` is a
hold and its capture, `grant` a purchase's credits, `lots` a spend that takes all of what is left of ten purchases, and
`hot` spends that all wait for one person's wallet.

- pgbench calls the same SQL functions: the limit, since it spends no Python;
- atelier is `ledger.hold`, `capture` and `grant`, one process a core, the clients are threads in them;
- orm writes the same rows with select_for_update and creates;
- hordak, asked to spend alone, moves money between two accounts after looking at the balance, as its manual says, and
  leaves no audit rows.

Every contender's books are checked afterwards. Commits do not wait for the disk: that wait is the same for all and
would hide what is compared (`--durable` brings it back).
"""

from __future__ import annotations

import argparse
import re
import subprocess
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

from bench import crews, rounds, servers
from config.embedded import postgres

CLIENTS = (1, 8, 32)
GOALS = {"pgbench": 0.7, "orm": 5.0, "hordak": 8.0}
PEOPLE = 500
PRICE = 50
EACH = 10**9
LOTS = 10
FULL = 4_000  # people with ten lots of a tenth of the price: as many spends as one measurement may take

# `n` and `job` are variables of pgbench; people have ids that it can compute.
_CONTEXT = """'{"source": "SYSTEM", "request_id": ""}'"""
_BEGIN = "\\set n random(1, :people)\n\\set job random(1, 9000000000000000000)\n"
_SPEND = f"""
SELECT status FROM ledger_hold(WHO::uuid, 'credits', 'CREDIT', :price, 'pgbench:' || :job::text, 'job',
    md5(:job::text)::uuid, now() + interval '1 hour', {_CONTEXT});
SELECT status FROM ledger_capture('pgbench:' || :job::text, NULL, NULL, '', {_CONTEXT});
"""
_GRANT = f"""
SELECT status FROM ledger_grant(WHO::uuid, 'credits', 'CREDIT', :price, 'paid', 'grant', 'pgbench:' || :job::text,
    'sale', md5(:job::text)::uuid, 'issued', NULL, 'sale', md5(:job::text)::uuid, NULL, '', {_CONTEXT});
"""
ACTS = {
    "spend": _BEGIN + _SPEND.replace("WHO", "md5(:n::text)"),
    "grant": _BEGIN + _GRANT.replace("WHO", "md5(:n::text)"),
    "lots": _BEGIN + "SELECT md5('lots:' || nextval('bench_turn')) AS who \\gset\n" + _SPEND.replace("WHO", ":who"),
    "hot": _BEGIN + _SPEND.replace("WHO", "md5('1')"),
}
# Everybody whose lots are gone gets ten new ones.
_REFILL = f"""
WITH empty AS MATERIALIZED (
    SELECT u.id FROM (SELECT md5('lots:' || n)::uuid AS id FROM generate_series(1, %(full)s) n) u
    LEFT JOIN billing_wallet w ON w.user_id = u.id AND w.kind = 'credits' WHERE coalesce(w.balance, 0) = 0
)
SELECT count(*) FILTER (WHERE g.status <> 'ok') FROM empty CROSS JOIN generate_series(1, %(lots)s) n
CROSS JOIN LATERAL ledger_grant(empty.id, 'credits', 'CREDIT', %(each)s, 'paid', 'grant',
    'lots:' || gen_random_uuid() || n, 'sale', gen_random_uuid(), 'issued', NULL, 'sale', gen_random_uuid(), NULL, '',
    {_CONTEXT}) g
"""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--seconds", type=float, default=3, help="of load for each contender in each round")
    arguments.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    arguments.add_argument("--acts", nargs="+", choices=ACTS, default=[*ACTS])
    arguments.add_argument("--durable", action="store_true", help="wait for the disk at every commit")
    arguments.add_argument("--without-hordak", action="store_true", help="leave out the peer that must be installed")
    arguments.add_argument("--absolute", action="store_true", help="also print this machine's own figures")
    chosen = arguments.parse_args()
    settings = postgres.DURABLE | {"max_connections": "300"}
    if not chosen.durable:
        settings["synchronous_commit"] = "off"
    with servers.running(settings) as server, ExitStack() as stack:
        environment = {
            "ENVIRONMENT": "development",
            "DEBUG": "false",
            "DATABASE_URL": server.database_url("ledger"),
            "REDIS_URL": server.redis_url(),
        }
        servers.lay_out(environment)
        fund()
        servers.VAR.mkdir(parents=True, exist_ok=True)
        for act, script in ACTS.items():
            (servers.VAR / f"{act}.sql").write_text(script)
        names = [name for name in ("atelier", "orm", "hordak") if name != "hordak" or not chosen.without_hordak]
        workers = {name: stack.enter_context(crew(name, environment, server)) for name in names}
        for act in chosen.acts:
            for clients in chosen.clients:
                contenders: dict[str, Any] = {"pgbench": partial(pgbench, server, act, clients)}
                able = [name for name in names if act == "spend" or name != "hordak"]
                contenders |= {name: partial(workers[name].rate, act, clients) for name in able}
                if act == "lots":
                    contenders = {name: partial(filled, measure) for name, measure in contenders.items()}
                for measure in contenders.values():
                    measure(seconds=1)  # warm
                found = rounds.run(
                    {name: partial(measure, seconds=chosen.seconds) for name, measure in contenders.items()},
                    rounds=chosen.rounds,
                )
                tell(act, clients, found, absolute=chosen.absolute)
        for worker in workers.values():
            worker.check()
        check()


def crew(name: str, environment: Mapping[str, str], server: servers.Servers) -> Any:
    """The processes of one contender, ready to be told to spend."""
    if name == "hordak":
        own = {"DATABASE": "hordak", "SOCKETS": str(server.sockets), "PEOPLE": str(PEOPLE), "PRICE": str(PRICE)}
        server.database_url("hordak")
        return crews.hordak(own)
    return crews.ours(name, dict(environment) | {"PEOPLE": str(PEOPLE), "PRICE": str(PRICE)})


def fund() -> None:
    """The people, with credits that never run out, from two purchases each: spending looks for the lot to take from."""
    from uuid import UUID

    from django.db import connection

    from accounts.models import User
    from billing import ledger
    from core.ids import new_id

    with connection.cursor() as cursor:
        cursor.execute("SELECT md5(n::text)::uuid FROM generate_series(1, %s) n", [PEOPLE])
        ids: list[UUID] = [row[0] for row in cursor.fetchall()]
    people = User.objects.bulk_create(User(id=pk, email=f"{pk}@example.test") for pk in ids)
    for user in people:
        ledger.open_wallets(user=user)
        for category in ("promo", "paid"):
            sale = new_id()
            ledger.grant(
                user_id=user.pk,
                amount=EACH if category == "paid" else PRICE,
                category=category,
                key=f"sale:{sale}",
                subject=("sale", sale),
            )
    with connection.cursor() as cursor:
        cursor.execute("CREATE SEQUENCE bench_turn")
        cursor.execute("SELECT md5('lots:' || n)::uuid FROM generate_series(1, %s) n", [FULL])
        User.objects.bulk_create(User(id=row[0], email=f"{row[0]}@example.test") for row in cursor.fetchall())
        cursor.execute("VACUUM ANALYZE")


def filled(measure: Callable[..., float], *, seconds: float) -> float:
    """Measure while each person still has ten lots. Raises: RuntimeError when there were too few people."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(_REFILL, {"full": FULL, "lots": LOTS, "each": PRICE // LOTS})
        assert cursor.fetchone() == (0,)
        cursor.execute("SELECT setval('bench_turn', 1, false)")
        cursor.execute("ANALYZE billing_creditlot")
        done = measure(seconds=seconds)
        cursor.execute("SELECT last_value FROM bench_turn")
        if cursor.fetchone()[0] > FULL:
            raise RuntimeError("more was spent than there was: measure for fewer seconds")
    return done


def pgbench(server: servers.Servers, act: str, clients: int, *, seconds: float) -> float:
    """How often a second an act was done by pgbench, prepared as our driver prepares them."""
    told = subprocess.run(
        [
            *(server.postgres.bin / "pgbench", "--no-vacuum", "--protocol=prepared"),
            *("-h", server.sockets, "-U", "postgres", "-c", str(clients), "-j", str(min(clients, 2))),
            *(
                "-T",
                str(max(1, round(seconds))),
                "-D",
                f"people={PEOPLE}",
                "-D",
                f"price={PRICE}",
                "-f",
                servers.VAR / f"{act}.sql",
            ),
            "ledger",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = re.search(r"tps = ([\d.]+)", told)
    if found is None or "number of failed transactions: 0 " not in told:
        raise RuntimeError(f"pgbench did not spend:\n{told}")
    return float(found[1])


def tell(act: str, clients: int, found: Mapping[str, list[float]], *, absolute: bool) -> None:
    print(f"{act}, {clients} client{'s' if clients > 1 else ''}", flush=True)
    for name, goal in GOALS.items():
        if name in found:
            spread = rounds.ratio(found["atelier"], found[name])
            print("  " + rounds.verdict(f"{act} beside {name}", spread, goal))
    if absolute:
        for name, rates in found.items():
            print(f"  {name}: {rounds.Spread.of(rates).median:.0f} a second")


def check() -> None:
    """What was granted is what is left and what was spent, and the books balance."""
    from django.db.models import Sum

    from billing import books
    from billing.models import CreditLot, Hold, Wallet

    captured = Hold.objects.filter(state="captured")
    spent = captured.aggregate(total=Sum("captured"))["total"] or 0
    granted = CreditLot.objects.aggregate(total=Sum("amount"))["total"]
    left = Wallet.objects.filter(user__isnull=False, unit="CREDIT").aggregate(total=Sum("balance"))["total"]
    assert left == granted - spent, "credits are missing"
    assert not Hold.objects.exclude(state="captured").exists(), "a hold was left behind"
    report = books.run()
    assert report.is_clean, report.findings[:5]
    print(f"{captured.count()} spends; {len(report.checks)} checks of the books: clean")


if __name__ == "__main__":
    main()

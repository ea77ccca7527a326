"""Hold and capture of credits: our public functions beside PostgreSQL itself, the ORM way and django-hordak.

`python -m bench.ledger`. One PostgreSQL, the same people and amounts, at 1, 8 and 32 clients:

- pgbench calls the same two SQL functions: the limit, since it spends no Python;
- atelier is `ledger.hold` and `ledger.capture`, one process a core, the clients are threads in them;
- orm writes the same rows with select_for_update and creates;
- hordak moves money between two accounts after looking at the balance, as its manual says, and leaves no audit rows.

Every contender's books are checked afterwards. Commits do not wait for the disk: that wait is the same for all and
would hide what is compared (`--durable` brings it back).
"""

from __future__ import annotations

import argparse
import re
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from bench import crews, rounds, servers
from config.embedded import postgres

CLIENTS = (1, 8, 32)
GOALS = {"pgbench": 0.7, "orm": 5.0, "hordak": 8.0}
PEOPLE = 500
PRICE = 50
EACH = 10**9

# `who` and `job` are variables of pgbench; people have ids that it can compute.
_SPEND = """
\\set who random(1, :people)
\\set job random(1, 9000000000000000000)
SELECT status FROM ledger_hold(md5(:who::text)::uuid, 'credits', 'CREDIT', :price, 'pgbench:' || :job::text, 'job',
    md5(:job::text)::uuid, now() + interval '1 hour', '{"source": "SYSTEM", "request_id": ""}');
SELECT status FROM ledger_capture('pgbench:' || :job::text, NULL, NULL, '', '{"source": "SYSTEM", "request_id": ""}');
"""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--seconds", type=float, default=3, help="of load for each contender in each round")
    arguments.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
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
        people = fund()
        script = servers.VAR / "spend.sql"
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(_SPEND)
        names = [name for name in ("atelier", "orm", "hordak") if name != "hordak" or not chosen.without_hordak]
        workers = {name: stack.enter_context(crew(name, environment, server)) for name in names}
        found: dict[int, dict[str, list[float]]] = {}
        for clients in chosen.clients:
            contenders: dict[str, Any] = {"pgbench": partial(pgbench, server, script, clients)}
            contenders |= {name: partial(worker.rate, clients) for name, worker in workers.items()}
            for measure in contenders.values():
                measure(seconds=1)  # warm
            found[clients] = rounds.run(
                {name: partial(measure, seconds=chosen.seconds) for name, measure in contenders.items()},
                rounds=chosen.rounds,
            )
            tell(clients, found[clients], absolute=chosen.absolute)
        for worker in workers.values():
            worker.check()
        check(people)


def crew(name: str, environment: Mapping[str, str], server: servers.Servers) -> Any:
    """The processes of one contender, ready to be told to spend."""
    if name == "hordak":
        own = {"DATABASE": "hordak", "SOCKETS": str(server.sockets), "PEOPLE": str(PEOPLE), "PRICE": str(PRICE)}
        server.database_url("hordak")
        return crews.hordak(own)
    return crews.ours(name, dict(environment) | {"PEOPLE": str(PEOPLE), "PRICE": str(PRICE)})


def fund() -> list[Any]:
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
        cursor.execute("VACUUM ANALYZE")
    return people


def pgbench(server: servers.Servers, script: Path, clients: int, *, seconds: float) -> float:
    """Spends per second by pgbench, prepared as our driver prepares them."""
    told = subprocess.run(
        [
            *(server.postgres.bin / "pgbench", "--no-vacuum", "--protocol=prepared"),
            *("-h", server.sockets, "-U", "postgres", "-c", str(clients), "-j", str(min(clients, 2))),
            *("-T", str(max(1, round(seconds))), "-D", f"people={PEOPLE}", "-D", f"price={PRICE}", "-f", script),
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


def tell(clients: int, found: Mapping[str, list[float]], *, absolute: bool) -> None:
    print(f"{clients} client{'s' if clients > 1 else ''}")
    for name, goal in GOALS.items():
        if name in found:
            spread = rounds.ratio(found["atelier"], found[name])
            print("  " + rounds.verdict(f"hold + capture beside {name}", spread, goal))
    if absolute:
        for name, rates in found.items():
            print(f"  {name}: {rounds.Spread.of(rates).median:.0f} a second")


def check(people: list[Any]) -> None:
    """What everybody spent is what is gone, and the books balance."""
    from django.db.models import Sum

    from billing import books, ledger
    from billing.models import Hold

    captured = Hold.objects.filter(state="captured")
    spent = captured.aggregate(total=Sum("captured"))["total"]
    left = sum(ledger.balance(user.pk).balance for user in people)
    assert left == PEOPLE * (EACH + PRICE) - spent, "credits are missing"
    assert not Hold.objects.exclude(state="captured").exists(), "a hold was left behind"
    report = books.run()
    assert report.is_clean, report.findings[:5]
    print(f"{captured.count()} spends; {len(report.checks)} checks of the books: clean")


if __name__ == "__main__":
    main()

"""The hottest read, GET credits/balance, beside the same on FastAPI and on Express: `python -m bench.http`.

One server process each, the same PostgreSQL and rows, 32 connections. All do the same for a request: the token and its
live session, a rate limit counted in Redis, a request id, a JSON log line, a latency metric. Before and after the load
it is checked that each answers everybody right, refuses who must be refused, and did those duties.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import redis
import requests

from bench import atelier, contenders, load, peers, rounds, servers
from bench.contenders import Contender
from config.embedded import addresses, processes

if TYPE_CHECKING:
    from bench.customers import Customer

PATH = "/api/v1/credits/balance"
GOALS = {"fastapi": 2.0, "express": 1.4}
PEOPLE = 300
DATABASES = {"atelier": 0, "fastapi": 1, "express": 2}  # of Redis: each counts in its own


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=9)
    arguments.add_argument("--seconds", type=int, default=4, help="of load for each contender in each round")
    arguments.add_argument("--absolute", action="store_true", help="also print this machine's own figures")
    chosen = arguments.parse_args()
    load.require()
    with servers.running() as server:
        environment = atelier.production(database_url=server.database_url(), redis_url=server.redis_url())
        servers.lay_out(environment)
        from bench import customers

        people = customers.make(PEOPLE)
        ended = customers.signed_out(people[0])
        with everybody(server, environment) as running:
            check(server, running, people, ended)
            script = load.script(servers.VAR, PATH, [person.token for person in people])
            for contender in running:
                load.put(contender, script, seconds=2)  # warm
            found = rounds.run(
                {contender.name: partial(load.put, contender, script, seconds=chosen.seconds) for contender in running},
                rounds=chosen.rounds,
            )
            check(server, running, people, ended)
    tell(found, absolute=chosen.absolute)


@contextmanager
def everybody(server: servers.Servers, environment: dict[str, str]) -> Iterator[list[Contender]]:
    """Atelier and its peers, all running; one that is not asked costs nothing."""
    sockets = str(server.sockets)
    from accounts.api.tokens import AUDIENCE

    shared = {
        "JWT_SECRET": environment["JWT_SECRET"],
        "JWT_AUDIENCE": AUDIENCE,
        "PER_MINUTE": str(atelier.PER_MINUTE),
    }
    ports = {name: contenders.free_port() for name in ("atelier", "fastapi", "express")}
    command, own = atelier.web(ports["atelier"], environment)
    wanted: dict[str, tuple[list[str | Path], dict[str, str], str | None]] = {
        "atelier": ([*command], own, "/health/live"),
        "fastapi": (
            [
                *(peers.python(), "-m", "uvicorn", "--app-dir", peers.HERE, "fastapi_balance:app"),
                *("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"),
                *("--port", str(ports["fastapi"])),
            ],
            shared
            | {
                "SQLALCHEMY_URL": f"postgresql+asyncpg://postgres@/bench?host={sockets}",
                "LIMITS_URL": f"async+redis+{server.redis_url(DATABASES['fastapi'])}",
            },
            None,
        ),
        "express": (
            ["node", peers.HERE / "express_balance.js"],
            shared
            | {
                "NODE_ENV": "production",
                "PACKAGES": str(peers.node()),
                "PORT": str(ports["express"]),
                "REDIS_PATH": str(server.sockets / addresses.VALKEY_SOCKET),
                "REDIS_DB": str(DATABASES["express"]),
                "PGHOST": sockets,
                "PGUSER": "postgres",
                "PGDATABASE": "bench",
            },
            None,
        ),
    }
    with ExitStack() as stack:
        yield [
            stack.enter_context(contenders.running(name, argv, env, port=ports[name], health=health))
            for name, (argv, env, health) in wanted.items()
        ]


def check(server: servers.Servers, running: list[Contender], people: list[Customer], ended: str) -> None:
    """Everybody gets their own figures from everybody; strangers, forgeries and ended sessions get nothing.

    Raises: AssertionError.
    """
    for contender in running:
        name = contender.name
        with requests.Session() as client:
            client.headers["X-Forwarded-Proto"] = "https"
            for person in people:
                answer = client.get(contender.url + PATH, headers=bearer(person.token), timeout=10)
                assert answer.status_code == 200, (name, answer.status_code, answer.text)
                assert answer.json() == person.balance, (name, answer.text, person)
            for token in (None, "nonsense", people[0].token[:-4] + "AAAA", ended):
                answer = client.get(contender.url + PATH, headers=bearer(token), timeout=10)
                assert answer.status_code == 401, (name, token, answer.status_code)
            check_duties(contender, client, people[0])
        with redis.Redis.from_url(server.redis_url(DATABASES[name])) as counters:
            assert counters.dbsize() >= len(people), (name, "counted no limits")


def check_duties(contender: Contender, client: requests.Session, person: Customer) -> None:
    """The request's id comes back and stands in one log line with the person; its time is in the metrics.

    Raises: AssertionError.
    """
    request_id = uuid4().hex
    answer = client.get(contender.url + PATH, headers=bearer(person.token) | {"X-Request-ID": request_id}, timeout=10)
    assert answer.headers["X-Request-ID"] == request_id, (contender.name, answer.headers)
    assert processes.wait_until(lambda: contender.logged(request_id), 10), (contender.name, "wrote no log line")
    told = json.loads(line := contender.logged(request_id) or "")
    assert (told["path"], told["status"], told["actor"]) == (PATH, 200, str(person.user_id)), (contender.name, line)
    page = client.get(contender.url + "/metrics", timeout=10).text
    assert re.search(r"^http_request_.*_count{.*} \d{3}", page, re.M), (contender.name, page[:2000])


def bearer(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def tell(found: dict[str, list[load.Load]], *, absolute: bool) -> None:
    """Print the ratios."""
    ours = found["atelier"]
    for name, goal in GOALS.items():
        theirs = found[name]
        speed = rounds.ratio([load.rate for load in ours], [load.rate for load in theirs])
        print(rounds.verdict(f"balance read beside {name}, requests/s", speed, goal))
        cpu = rounds.ratio([load.cpu_s for load in theirs], [load.cpu_s for load in ours])
        print(f"{'  the same by CPU time of the server':<44} {cpu}")
    if absolute:
        for name, loads in found.items():
            rate, cpu = (rounds.Spread.of([getattr(one, figure) for one in loads]) for figure in ("rate", "cpu_s"))
            print(f"{name:<10} {rate.median:8.0f} requests/s   {cpu.median * 1e6:6.0f} µs of CPU each")


if __name__ == "__main__":
    main()

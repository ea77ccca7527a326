"""The audit log: what an entry costs, what a page of it costs, what proving it costs: `python -m bench.audit`.

- `changes`: one change of a row in a transaction, with the actor and the request told of, by `audit.record`, by one plain
  INSERT through the ORM, django-auditlog, django-simple-history and django-pghistory: all in one process, inside our own
  project, on one database. What counts is what each adds to the change alone.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import peers, rounds, servers
from config.embedded import postgres

PINS = Path(__file__).parent / "requirements-audit.txt"
GOAL_ADDS, GOAL_FLAT = 0.15, 1.2
PARTS = ("changes", "pages", "proof")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("parts", nargs="*", choices=PARTS, default=PARTS)
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


def _met(found: float, goal: float = GOAL_ADDS) -> str:
    return "met" if found <= goal else "MISSED"


if __name__ == "__main__":
    main()

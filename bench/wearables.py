"""Importing catalogues beside what people use for it, and searching them: `python -m bench.wearables`.

Each contender brings the same file into our table with all its indexes, first empty and then over itself: ours (every
row checked, the bad ones named, derived fields filled); `bulk_create(update_conflicts=True)` of what csv reads and our
names say; django-import-export as its manual begins. The limit is PostgreSQL's own COPY of the finished rows into an
empty copy of the table, which checks nothing, derives nothing and updates nothing. Beside the times stands how much the
memory of our process grew. Then the catalogue is asked what the API asks, nothing of it kept from the time before.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

from bench import peers, servers
from bench.servers import ROOT

GOAL_COPY, GOAL_IMPORT_EXPORT, FLAT_MB = 2.5, 50.0, 60.0
IMPORT_EXPORT_UP_TO, BULK_CREATE_UP_TO = 7_200, 200_000
BAD_EVERY = 1_000  # rows
ASKED = 20  # times each question
PINS = ROOT / "bench" / "requirements-import-export.txt"
TERMS = ("striped polo", "red silk", "leath", "distresed jeens", "no such thing at all", "")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rows", default="7200,200000,1000000")
    arguments.add_argument("--rounds", type=int, default=3, help="of the smallest file; one of the others")
    arguments.add_argument("--without", default="", help="contenders to leave out, separated by commas")
    chosen = arguments.parse_args()
    with servers.running() as server, tempfile.TemporaryDirectory(prefix="atelier-bench-") as folder:
        environment = {
            "ENVIRONMENT": "development",
            "DEBUG": "false",
            "DATABASE_URL": server.database_url(),
            "REDIS_URL": server.redis_url(),
        }
        servers.lay_out(environment)
        os.environ["DATABASE_HOST"] = str(server.sockets)
        passed = [
            verdict
            for rows in map(int, chosen.rows.split(","))
            for verdict in measure(
                rows,
                chosen.rounds if rows <= IMPORT_EXPORT_UP_TO else 1,
                Path(folder),
                without=chosen.without.split(","),
            )
        ]
    raise SystemExit(0 if all(passed) else 1)


def write(path: Path, rows: int) -> None:
    """The starter catalogue over and over, each time under other codes and names; now and then a row without a name."""
    from wearables import starter

    def items() -> Iterator[tuple[str, str, str, str]]:
        for turn in count():
            for code, category, name, description in starter.items():
                yield f"{code}-{turn}", category, f"{name} {turn}" if turn else name, description

    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(starter.HEADER)
        for number, row in enumerate(islice(items(), rows)):
            writer.writerow((row[0], row[1], "", row[3]) if number % BAD_EVERY == BAD_EVERY - 1 else row)


def measure(rows: int, rounds: int, folder: Path, *, without: list[str]) -> list[bool]:
    path = folder / f"{rows}.csv"
    write(path, rows)
    before, grown = peak_mb(), 0.0
    contenders: dict[str, Callable[[Path], float]] = {"ours": ours, "COPY": copy}
    if rows <= BULK_CREATE_UP_TO:
        contenders["bulk_create"] = bulk_create
    if rows <= IMPORT_EXPORT_UP_TO:
        contenders["import-export"] = import_export
    contenders = {name: run for name, run in contenders.items() if name not in without}
    took: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for name, run in contenders.items():
            if name != "COPY":  # that goes by what ours has left
                empty()
            for phase in ("new", "again")[: 1 if name == "COPY" else 2]:
                took.setdefault((name, phase), []).append(run(path))
                grown = grown if len(took) > 1 else peak_mb() - before
    limit, mine = statistics.median(took["COPY", "new"]), statistics.median(took["ours", "new"])
    for (name, phase), seconds in took.items():
        middle = statistics.median(seconds)
        print(f"{rows:>8} {name:<14} {phase:<6} {middle:8.2f} s  {middle / limit:7.2f} x COPY", flush=True)
    verdicts = [verdict(f"{rows} rows beside bare COPY", mine / limit, GOAL_COPY, at_most=True)]
    verdicts.append(verdict(f"{rows} rows: memory grown, MB", grown, FLAT_MB, at_most=True))
    if "import-export" in contenders:
        theirs = statistics.median(took["import-export", "new"])
        verdicts.append(verdict(f"{rows} rows beside import-export", theirs / mine, GOAL_IMPORT_EXPORT, at_most=False))
    if list(contenders)[-1] != "COPY":
        empty()
        ours(path)
    search(rows)
    return verdicts


def verdict(what: str, found: float, goal: float, *, at_most: bool) -> bool:
    met = found <= goal if at_most else found >= goal
    print(f"{what:<44} {found:.2f}   goal {'≤' if at_most else '≥'} {goal:g}: {'met' if met else 'MISSED'}", flush=True)
    return met


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def sql(statement: str) -> list[Any]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def empty() -> None:
    sql("TRUNCATE wearables_wearable, wearables_former, wearables_selection, wearables_customization")
    # django-import-export names no other column than its model has.
    sql("ALTER TABLE wearables_wearable ALTER updated_at SET DEFAULT statement_timestamp()")


def ours(path: Path) -> float:
    from wearables import imports

    began = time.perf_counter()
    imports.run(imports.Source(path, path.name))
    return time.perf_counter() - began


def copy(path: Path) -> float:
    """Of rows that are there already, as text, so that nothing but PostgreSQL is measured."""
    from django.db import connection

    told = sql(
        "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid ="
        " 'wearables_wearable'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''"
    )
    columns = told[0][0]
    finished = path.with_suffix(".copy")
    with connection.cursor() as cursor, finished.open("wb") as file:
        with cursor.copy(f"COPY wearables_wearable ({columns}) TO STDOUT") as out:
            for block in out:
                file.write(block)
        cursor.execute("DROP TABLE IF EXISTS limit_of_wearables")
        cursor.execute("CREATE TABLE limit_of_wearables (LIKE wearables_wearable INCLUDING ALL)")
        began = time.perf_counter()
        with cursor.copy(f"COPY limit_of_wearables ({columns}) FROM STDIN") as into, finished.open("rb") as file:
            while block := file.read(1 << 18):
                into.write(block)
        took_s = time.perf_counter() - began
        cursor.execute("DROP TABLE limit_of_wearables")
    finished.unlink()
    return took_s


def bulk_create(path: Path) -> float:
    from django.db import transaction

    from wearables.deriving import derive
    from wearables.models import Wearable

    began = time.perf_counter()
    updated = ["category", "name", "description", "subcategory", "tags", "style", "color", "material", "season"]
    updated += ["occasion", "size", "fit"]
    with transaction.atomic(), path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        next(reader)
        while rows := list(islice(reader, 2000)):
            Wearable.objects.bulk_create(
                [
                    Wearable(code=code, category=category, name=name, description=told, **derive(category, name))
                    for code, category, name, told in rows
                    if name
                ],
                update_conflicts=True,
                unique_fields=["code"],
                update_fields=updated,
            )
    return time.perf_counter() - began


def import_export(path: Path) -> float:
    command = [str(peers.python(PINS)), str(peers.HERE / "import_export_wearables.py"), str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=dict(os.environ))
    return float(json.loads(done.stdout.splitlines()[-1])["took_s"])


def search(rows: int) -> None:
    """What a page costs that nobody has asked for yet: the search, the facets with the number, and the rows."""
    from core import redis
    from wearables import queries

    among = queries.on_offer()
    questions: dict[str, Callable[[], Any]] = {
        f"search {term or '(all)'}": partial(queries.search, among, term) if term else partial(among.all)
        for term in TERMS
    }
    questions |= {
        "category=Tops": partial(among.filter, category="Tops"),
        "color=Red&style=Casual": partial(among.filter, color="Red", style="Casual"),
        "tags=leather": partial(among.filter, tags__contains=["leather"]),
    }
    sql("VACUUM ANALYZE wearables_wearable")
    for name, rows_of in questions.items():
        seconds, total = [], 0
        for _ in range(ASKED + 1):
            redis.client().flushdb()
            began = time.perf_counter()
            found = queries.found(rows_of())
            shown, total = list(found[:20]), found.total
            seconds.append(time.perf_counter() - began)
            assert len(shown) == min(20, total)
        say(rows, name, total, seconds[1:])
    seconds = []
    for _ in range(ASKED + 1):
        began = time.perf_counter()
        total = len(queries.categories())
        seconds.append(time.perf_counter() - began)
    say(rows, "categories", total, seconds[1:])


def say(rows: int, question: str, total: int, seconds: list[float]) -> None:
    """The first is left out by the caller: it is for warmth."""
    half, most = statistics.median(seconds), statistics.quantiles(seconds, n=20)[-1]
    print(
        f"{rows:>8} {question:<32} {total:>8} found   p50 {half * 1e3:8.1f} ms   p95 {most * 1e3:8.1f} ms", flush=True
    )


if __name__ == "__main__":
    sys.exit(main())

"""Jobs through the whole engine beside Celery tasks that do the same updates: `python -m bench.jobs`.

An instant provider in this process takes and answers; nothing is fetched and nothing drawn, so what is measured is the
engine with its ledger, audit trail and mails. Two measurements:

- claim and finish: running jobs that are due and have ended at the provider, of fifty customers, in a worker: the
  engine takes them from the table; beside it Celery takes a message each, whose task makes the same changes of the same
  rows for one job (`finish.fail`). One worker process each (`solo`), the same broker and database, in turns;
- one sweep: so many running jobs are due at once, are claimed, looked at and written down, by one thread. First all of
  them have news (they got on), then none has. CPU for each is what a job in flight costs a look; it is flat if work
  grows with what is due alone.

Afterwards every job has ended as its provider said, once, and the books balance.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import partial

from bench import rounds, servers
from config.embedded import postgres

GOAL = 10.0
SWEEP_S = 2.0
BATCH = 1_000
SWEEPS = (1_000, 10_000, 100_000)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--batch", type=int, default=BATCH)
    arguments.add_argument("--sweeps", type=int, nargs="*", default=SWEEPS)
    arguments.add_argument("--absolute", action="store_true", help="also print this machine's own figures")
    chosen = arguments.parse_args()
    with servers.running(postgres.DURABLE | {"synchronous_commit": "off"}) as server:
        servers.lay_out(
            {
                "ENVIRONMENT": "development",
                "DEBUG": "false",
                "DATABASE_URL": server.database_url("jobs"),
                "REDIS_URL": server.redis_url(),
                "XAI_API_KEY": "bench",
            }
        )
        from bench import instant

        instant.install()
        finished = {
            "engine": partial(instant.finish, chosen.batch),
            "celery": partial(instant.finish_by_tasks, chosen.batch),
        }
        for measure in finished.values():
            measure()  # warm
        found: Mapping[str, list[float]] = rounds.run(finished, rounds=chosen.rounds)
        print(rounds.verdict("claim and finish beside Celery, jobs/s", ratio(found), GOAL))
        if chosen.absolute:
            for name, rates in found.items():
                print(f"  {name}: {rounds.Spread.of(rates).median:.0f} a second")
        for count in chosen.sweeps:
            for news, wall, cpu in instant.sweep(count):
                told = f"{wall:.2f} s, of which CPU {cpu:.2f} s, {cpu / count * 1e3:.3f} ms a job"
                goal = f"   goal < {SWEEP_S:g} s: {'met' if wall < SWEEP_S else 'MISSED'}" if count >= 100_000 else ""
                print(f"one sweep of {count:,}, {news}: {told}{goal}", flush=True)
        instant.check()


def ratio(found: Mapping[str, list[float]]) -> rounds.Spread:
    return rounds.ratio(found["engine"], found["celery"])


if __name__ == "__main__":
    main()

"""Stripe's webhooks taken in: our inbox beside dj-stripe in its deferred mode: `python -m bench.webhooks`.

One web process each, the same granian, threads, middleware, settings and PostgreSQL: dj-stripe runs as an app inside
our own project, and its DJSTRIPE_WEBHOOK_EVENT_CALLBACK, which its manual has put the event on a queue, does nothing.
Each delivery is another signed event of two kilobytes on one of 32 connections, verified and stored before its 200.
Then the stored ones are handled by one thread of a worker's: an event that is about nothing of ours, as most are.
Afterwards it is checked that every delivery that was answered is stored whole, and handled.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import requests

from bench import atelier, contenders, load, peers, rounds, servers
from bench.contenders import Contender

PINS = Path(__file__).parent / "requirements-djstripe.txt"
GOAL = 5.0
HANDLED = 1_000  # of each in each round, if so many were taken in
AT_MOST = 5_000  # deliveries a second that the load is made for
PATHS = {"atelier": "/api/v1/webhooks/stripe", "dj-stripe": "/stripe/webhook/00000000-0000-0000-0000-000000000001/"}
SECRET = "whsec_" + secrets.token_hex(16)
_numbers = count(1)

# Whole requests but for the number of the event; what signs each is computed before.
_SCRIPT = """
local signatures = {%s}
local before, after, first, turn = %s, %s, %d, 0
request = function()
  turn = turn + 1
  if turn > #signatures then os.exit(1) end
  return wrk.format('POST', %s, {
    ['Host'] = wrk.host .. ':' .. wrk.port, ['Content-Type'] = 'application/json', ['User-Agent'] = 'Stripe/1.0',
    ['Stripe-Signature'] = 't=%d,v1=' .. signatures[turn],
    ['X-Forwarded-For'] = '203.0.113.7', ['X-Forwarded-Proto'] = 'https'},
    before .. string.format('%%024d', first + turn - 1) .. after)
end
"""
_EVENT = json.dumps(
    {
        "id": "evt_@",
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": 1_790_000_000,
        "livemode": True,
        "type": "balance.available",
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "data": {"object": {"object": "balance", "livemode": True, "pad": "y" * 1_500}},
    }
)
BEFORE, AFTER = _EVENT.split("@")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--seconds", type=int, default=4, help="of load for each contender in each round")
    arguments.add_argument("--absolute", action="store_true", help="also print this machine's own figures")
    chosen = arguments.parse_args()
    load.require()
    with servers.running() as server:
        environment = atelier.production(database_url=server.database_url(), redis_url=server.redis_url())
        environment |= {
            "STRIPE_WEBHOOK_SECRET": SECRET,
            "STRIPE_SECRET_KEY": secrets.token_hex(16),
            "STRIPE_PUBLISHABLE_KEY": secrets.token_hex(16),
        }
        servers.lay_out(environment)
        with everybody(server, environment) as inboxes:
            for inbox in inboxes:
                inbox.check_door()
                inbox.take_in(seconds=2)  # warm
                inbox.handle(200)
            taken = rounds.run(
                {inbox.name: partial(inbox.take_in, seconds=chosen.seconds) for inbox in inboxes}, rounds=chosen.rounds
            )
            tell(taken, absolute=chosen.absolute)
            least = min(sum(one.count for one in loads) for loads in taken.values())
            many = min(HANDLED, least // chosen.rounds)
            handled = rounds.run(
                {inbox.name: partial(inbox.handle, many) for inbox in inboxes}, rounds=chosen.rounds, seed=2
            )
            print(f"{'  then handled, one thread each':<44} {rounds.ratio(handled['atelier'], handled['dj-stripe'])}")
            for inbox in inboxes:
                inbox.check()


@dataclass
class Inbox:
    """One contender's door, and what is behind it."""

    name: str
    door: Contender
    python: Path
    environment: Mapping[str, str]
    answered: int = 0
    loads: int = 0
    bodies: dict[str, bool] = field(default_factory=dict)

    def take_in(self, *, seconds: int) -> load.Load:
        """Deliver as fast as it takes them."""
        script = servers.VAR / f"deliver-{self.name}.lua"
        many = AT_MOST * seconds
        first = next(_numbers) * 10_000_000
        at = int(time.time())
        signatures = ",".join(f"'{sign(body(first + n), at)}'" for n in range(many))
        shape = _SCRIPT % (signatures, lua(BEFORE), lua(AFTER), first, lua(PATHS[self.name]), at)
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(shape)
        done = load.put(self.door, script, seconds=seconds)
        self.answered += done.count
        self.loads += 1
        return done

    def handle(self, many: int) -> float:
        """Handle so many of what is stored; how many a second."""
        done = self._ask("handle", str(many))
        if not done["done"]:
            raise RuntimeError(f"{self.name} had nothing to handle")
        return float(done["done"] / done["took_s"])

    def check_door(self) -> None:
        """A good one is taken, a forged and an old signature are not.

        Raises: AssertionError.
        """
        text, now = body(next(_numbers) * 10_000_000), int(time.time())
        for signature, wanted in (
            (f"t={now},v1={sign(text, now)}", 200),
            (f"t={now},v1={sign(text + b' ', now)}", 400),
            ("nonsense", 400),
        ):
            answer = requests.post(
                self.door.url + PATHS[self.name],
                data=text,
                headers={
                    "Stripe-Signature": signature,
                    "Content-Type": "application/json",
                    "X-Forwarded-Proto": "https",
                },
                timeout=10,
            )
            assert answer.status_code == wanted, (self.name, signature[:20], answer.status_code, answer.text)
        self.answered += 1

    def check(self) -> None:
        """What was answered is stored, once and whole, and what was handled says so. Raises: AssertionError."""
        found = self._ask("check")
        # wrk hangs up on what is under way at its end: stored, and perhaps answered to nobody.
        assert self.answered <= found["stored"] <= self.answered + self.loads * load.CONNECTIONS, (self.name, found)
        assert found["stored"] == found["distinct"], (self.name, found)
        assert found["spoilt"] == 0, (self.name, found)
        assert found["handled"] > 0, (self.name, found)
        print(f"{self.name}: {self.answered} answered, {found['stored']} stored whole, {found['handled']} handled")

    def _ask(self, *order: str) -> dict[str, Any]:
        module = "bench.peers.djstripe_inbox" if self.name == "dj-stripe" else "bench.inboxes"
        told = subprocess.run(
            [str(self.python), "-m", module, *order],
            cwd=servers.ROOT,
            env=dict(self.environment),
            capture_output=True,
            text=True,
            check=False,
        )
        if told.returncode:
            raise RuntimeError(f"{self.name} {order}: {told.stderr[-3000:]}")
        found: dict[str, Any] = json.loads(told.stdout.splitlines()[-1])
        return found


def body(number: int) -> bytes:
    return f"{BEFORE}{number:024d}{AFTER}".encode()


def sign(text: bytes, at: int) -> str:
    return hmac.new(SECRET.encode(), f"{at}.".encode() + text, hashlib.sha256).hexdigest()


def lua(text: str) -> str:
    return json.dumps(text)


@contextmanager
def everybody(server: servers.Servers, environment: dict[str, str]) -> Iterator[list[Inbox]]:
    """Our web process, and the same with dj-stripe in it."""
    theirs = environment | {
        "DATABASE_URL": server.database_url("djstripe"),
        "DJANGO_SETTINGS_MODULE": "bench.peers.djstripe_settings",
        "WEBHOOK_SECRET": SECRET,
    }
    python = peers.python_before_atelier(PINS)
    with ExitStack() as stack:
        found = []
        for name, interpreter, own in (
            ("atelier", Path(sys.executable), environment | {"DJANGO_SETTINGS_MODULE": "config.settings"}),
            ("dj-stripe", python, theirs),
        ):
            inherited = {"PATH": "/usr/bin:/bin", "HOME": str(Path.home()), "LOG_LEVEL": "INFO"} | own
            port = contenders.free_port()
            command, _ = atelier.web(port, own)
            inbox = Inbox(name, None, interpreter, inherited)  # type: ignore[arg-type]  # its door opens below
            if name == "dj-stripe":
                inbox._ask("prepare")
            inbox.door = stack.enter_context(
                contenders.running(name, [interpreter, *command[1:]], inherited, port=port, health="/health/live")
            )
            found.append(inbox)
        yield found


def tell(taken: dict[str, list[load.Load]], *, absolute: bool) -> None:
    ours, theirs = taken["atelier"], taken["dj-stripe"]
    speed = rounds.ratio([one.rate for one in ours], [one.rate for one in theirs])
    print(rounds.verdict("deliveries taken in beside dj-stripe", speed, GOAL), flush=True)
    print(f"{'  the same by CPU time of the server':<44} {rounds.ratio(*cpu(theirs, ours))}", flush=True)
    if absolute:
        for name, loads in taken.items():
            rate, used = rounds.Spread.of([one.rate for one in loads]), rounds.Spread.of([one.cpu_s for one in loads])
            print(f"{name:<10} {rate.median:8.0f} taken/s, {used.median * 1e6:6.0f} µs of CPU each", flush=True)


def cpu(*loads: list[load.Load]) -> list[list[float]]:
    return [[one.cpu_s for one in found] for found in loads]


if __name__ == "__main__":
    main()

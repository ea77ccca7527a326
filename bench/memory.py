"""Memory and CPU time of a web process and of a worker, and that files pass through without staying.

`python -m bench.memory`.

The web process answers a mix of reads, refusals, uploads and downloads; then it takes in and hands out files of tens of
megabytes, and its peak is watched. The worker makes headshots from the sandbox's provider. Resident memory is that of a
process and its children. Flat means: after a warm-up, the last measurement is within a tenth of the first. CPU time is
told for each request and each job, PostgreSQL's beside ours: what docs/capacity.md reckons with.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import tempfile
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import requests

from bench import contenders, servers
from bench.contenders import Contender
from config.embedded import commands, processes

GOAL_MB = 200
FLAT = 1.10
CLIENTS = 8
UPLOAD_BYTES = 49_000_000  # just below PHOTO_MAX_BYTES
DOWNLOAD_BYTES = 200_000_000
PRICE = 50
READS = (
    "credits/balance",
    "credits/history",
    "credits/explain",
    "wallets",
    "users/me",
    "photos",
    "generations",
    "payments",
    "credits/packages",
    "generations/operations",
)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--requests", type=int, default=10_000)
    arguments.add_argument("--jobs", type=int, default=1_000)
    chosen = arguments.parse_args()
    media = Path(tempfile.mkdtemp(prefix="atelier-bench-media-"))
    ports = [contenders.free_port() for _ in range(3)]
    try:
        with servers.running() as server:
            environment = settings(server, media, *ports)
            servers.lay_out(environment)
            with ExitStack() as stack:
                web = stack.enter_context(web_process(environment, ports[0]))
                person = Person(web)
                database = Contender("postgres", None, psutil.Process(server.postgres_pid), server.postgres.log)
                with costs("a request", chosen.requests, web, database):
                    told = measure(web, chosen.requests, person.mixed, at_once=CLIENTS)
                passed = [verdict("web", told, f"{chosen.requests} requests"), *files(web, person)]
                stack.enter_context(sandbox(environment, ports[1]))
                worker = stack.enter_context(celery("worker", environment, commands.worker(queues())))
                beat = stack.enter_context(celery("beat", environment, commands.beat()))
                person.fund(chosen.jobs * PRICE)
                with costs("a headshot", chosen.jobs, web, worker, beat, database):
                    told = measure(worker, chosen.jobs, person.headshot, at_once=4, settle=person.wait)
                passed.append(verdict("worker", told, f"{chosen.jobs} jobs"))
                person.check(chosen.jobs)
    finally:
        shutil.rmtree(media, ignore_errors=True)
    raise SystemExit(0 if all(passed) else 1)


def settings(server: servers.Servers, media: Path, port: int, sandbox_port: int, mail_port: int) -> dict[str, str]:
    """The environment of all processes: the sandbox's provider answers at once, limits are never reached."""
    return {
        "ENVIRONMENT": "development",
        "DEBUG": "false",
        "LOG_JSON": "true",
        "DATABASE_URL": server.database_url("memory"),
        "REDIS_URL": server.redis_url(),
        "MEDIA_ROOT": str(media),
        "PORT": str(port),
        "SANDBOX_PORT": str(sandbox_port),
        "SANDBOX_SMTP_PORT": str(mail_port),
        "SANDBOX_DIR": str(media / "sandbox"),
        "SANDBOX_SPEED_S": "0",
        "ACCESS_TOKEN_MINUTES": "600",
        "MAGIC_HOUR_CALLS_PER_10S": "1000000",
        "GENERATION_POLL_MIN_S": "0.5",
        "WAKE_EVERY_S": "generation.advance=0.5",
        "RATE_LIMITS": ",".join(f"{name}=1000000/60/user" for name in ("general", "uploads", "generation")),
    }


def web_process(environment: dict[str, str], port: int) -> Any:
    from django.conf import settings

    command = commands.web(host="127.0.0.1", port=port, threads=settings.WEB_THREADS)
    return contenders.running("memory-web", command, environment, port=port, health="/health/live")


def celery(name: str, environment: dict[str, str], command: list[str]) -> Any:
    return contenders.running(f"memory-{name}", command, environment, port=None)


def sandbox(environment: dict[str, str], port: int) -> Any:
    import sys

    from config.embedded import services

    own = environment | services.sandbox_environment() | {"SANDBOX_DIR": environment["SANDBOX_DIR"]}
    return contenders.running("memory-sandbox", [sys.executable, "-m", "sandbox"], own, port=port, health="/health")


def queues() -> list[str]:
    from core import jobs

    return list(jobs.QUEUES)


class Person:
    """Somebody signed in who uses the API, from several threads."""

    def __init__(self, web: Contender) -> None:
        from accounts import sessions
        from accounts.api import tokens
        from accounts.models import User
        from billing import ledger
        from config.demo import portrait

        self.web = web
        self.user = User.objects.create_user("customer@example.com")
        ledger.open_wallets(user=self.user)
        self.token = tokens.pair(sessions.open_for(self.user, remember=False))["access"]
        with tempfile.TemporaryDirectory() as folder:
            self.picture = portrait.draw(Path(folder) / "portrait.jpg", seed=1).read_bytes()
        self._local = threading.local()
        self.photo = self.upload(io.BytesIO(self.picture)).json()["id"]

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        client: requests.Session | None = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = requests.Session()
        headers = {"Authorization": f"Bearer {self.token}", "Idempotency-Key": uuid.uuid4().hex}
        return client.request(method, f"{self.web.url}/api/v1/{path}", headers=headers, timeout=60, **more)

    def upload(self, file: Any) -> requests.Response:
        answer = self.ask("POST", "photos", files={"file": ("portrait.jpg", file, "image/jpeg")})
        assert answer.status_code == 201, answer.text
        return answer

    def mixed(self, number: int) -> None:
        """One request of the mix: of a hundred two are uploads, three downloads, ten refusals, the rest reads."""
        match number % 100:
            case 0 | 50:
                self.upload(io.BytesIO(self.picture))
            case 10 | 40 | 70:
                link = self.ask("GET", f"photos/{self.photo}/url").json()["url"]
                assert len(requests.get(link, timeout=60).content) > 10_000
            case turn if turn % 10 == 5:
                assert self.ask("GET", f"photos/{uuid.uuid4()}").status_code == 404
            case turn:
                answer = self.ask("GET", READS[turn % len(READS)])
                assert answer.status_code == 200, answer.text

    def fund(self, credits: int) -> None:
        from billing import ledger
        from core.ids import new_id

        sale = new_id()
        ledger.grant(user_id=self.user.pk, amount=credits, category="paid", key=f"sale:{sale}", subject=("sale", sale))

    def headshot(self, number: int) -> None:
        answer = self.ask("POST", "headshots", json={"photo": self.photo, "consent": True})
        assert answer.status_code == 202, answer.text

    def wait(self) -> None:
        """Until no job is open."""
        from generation.models import OPEN, Generation

        if not processes.wait_until(lambda: not Generation.objects.filter(state__in=OPEN).exists(), 600, 0.2):
            raise RuntimeError("jobs do not end")

    def check(self, made: int) -> None:
        """Every job succeeded, cost what it should, and the books balance. Raises: AssertionError."""
        from billing import books, ledger
        from generation.models import Generation, State

        assert Generation.objects.filter(state=State.SUCCEEDED).count() == made
        left = ledger.balance(self.user.pk)
        assert (left.balance, left.held) == (0, 0), left
        report = books.run()
        assert report.is_clean, report.findings[:5]
        print(f"{made} jobs succeeded; {len(report.checks)} checks of the books: clean")


def measure(contender: Contender, total: int, act: Any, *, at_once: int, settle: Any = lambda: None) -> list[float]:
    """Do it so often, and measure ten times on the way. Units: MB."""
    numbers, found = count(), []
    with ThreadPoolExecutor(at_once) as pool:
        for _ in range(10):
            for done in [pool.submit(act, next(numbers)) for _ in range(total // 10)]:
                done.result()
            settle()
            found.append(contender.rss_mb())
    return found


@contextmanager
def costs(of: str, count: int, *contenders: Contender) -> Iterator[None]:
    """Tell how much CPU time each took for one of them."""
    before = [contender.cpu_s() for contender in contenders]
    yield
    spent = [contender.cpu_s() - at for contender, at in zip(contenders, before, strict=True)]
    told = ", ".join(
        f"{one.name.removeprefix('memory-')} {s / count * 1e3:.1f}" for one, s in zip(contenders, spent, strict=True)
    )
    print(f"CPU time of {of}, ms: {told}")


def files(web: Contender, person: Person) -> Iterator[bool]:
    """Large files pass through: the peak while they do is far from their size."""
    from core import storage

    padded = person.picture + bytes(UPLOAD_BYTES - len(person.picture))
    with peak(web) as risen:
        person.upload(io.BytesIO(padded))
    yield tell_peak("upload", UPLOAD_BYTES, risen)
    storage.save("bench/large", io.BytesIO(os.urandom(DOWNLOAD_BYTES)), "application/octet-stream")
    with peak(web) as risen:
        answer = requests.get(storage.signed_url("bench/large"), stream=True, timeout=60)
        received = sum(len(part) for part in answer.iter_content(1 << 20))
    assert received == DOWNLOAD_BYTES, received
    yield tell_peak("download", DOWNLOAD_BYTES, risen)


@contextmanager
def peak(contender: Contender) -> Iterator[list[float]]:
    """By how much the web process itself was larger at the highest, in MB; its decoder is bounded on its own."""
    before = contender.rss_mb(of="granian")
    risen, is_over = [0.0], threading.Event()

    def watch() -> None:
        while not is_over.wait(0.005):
            risen[0] = max(risen[0], contender.rss_mb(of="granian") - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield risen
    finally:
        is_over.set()
        watcher.join()


def tell_peak(what: str, size: int, risen: list[float]) -> bool:
    is_met = risen[0] < size / 1e6 / 2
    print(
        f"{what} of {size / 1e6:.0f} MB: the web process rose by {risen[0]:.0f} MB: {'streams' if is_met else 'MISSED'}"
    )
    return is_met


def verdict(name: str, found: list[float], after: str) -> bool:
    """One line of the result."""
    steady = found[2:]
    is_met = max(steady) <= GOAL_MB and steady[-1] <= steady[0] * FLAT
    print(
        f"{name} after {after}: {found[-1]:.0f} MB, {steady[0]:.0f} MB after the warm-up, at most {max(steady):.0f} MB"
        f"   goal ≤ {GOAL_MB} MB and flat: {'met' if is_met else 'MISSED'}"
    )
    return is_met


if __name__ == "__main__":
    main()

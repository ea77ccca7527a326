"""The running product with a PostgreSQL and a Valkey of its own, which a test may stop, flush and crash."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import redis
import requests
from django.core import signing

from config.embedded import addresses, postgres, processes, valkey
from tests import embedded
from tests.scenarios.client import Customer
from tests.scenarios.stack import ROOT, Stack

T = TypeVar("T")
READY_S = 120

# A crash of the server loses nothing that was committed; a power cut is not among the tests.
SETTINGS = {"shared_buffers": "64MB", "fsync": "off", "max_connections": "100"}
QUICK = {
    "GENERATION_POLL_MIN_S": "0.3",
    "GENERATION_POLL_MAX_S": "1",
    "GENERATION_LEASE_S": "5",
    "MAGIC_HOUR_TIMEOUT_S": "2",
    "MAGIC_HOUR_RESOLVE_S": "1",
    "SANDBOX_SLOW_S": "2",
}


class Shop:
    """Servers and stack, of which only the processes named are started, else all. Always `close()` it.

    `between`, called when the servers run, may put others before them and answer the settings that lead there.
    """

    def __init__(self, *names: str, between: Callable[[Shop], dict[str, str]] = lambda shop: {}) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"{embedded.PREFIX}{os.getpid()}-", dir=embedded.PLACE))
        self.folder.chmod(0o711)  # PostgreSQL may run as another user; the folders inside are private
        sockets, uid = self.folder / "run", addresses.server_uid(ROOT)
        self.postgres = postgres.Postgres(self.folder / "postgres", sockets, self.folder / "pg.log", uid, SETTINGS)
        embedded.copy_migrated(self.postgres)
        self.valkey = valkey.Valkey(sockets, self.folder / "valkey.log")
        self.redis_url = addresses.redis_url_at(sockets, 0)
        self.start_postgres()
        self.start_valkey()
        database_url = addresses.database_url_at(sockets, embedded.TEMPLATE)
        settings = QUICK | between(self)
        self.stack = Stack(self.folder, database_url=database_url, redis_url=self.redis_url, **settings)
        self.stack.start(*names)

    def close(self) -> None:
        """Stop everything and remove every trace."""
        self.stack.stop()
        processes.stop(self.valkey_process, valkey.STOP, 5)
        processes.stop(self.postgres_process, postgres.STOP, 20)
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- Servers ---

    def start_postgres(self) -> None:
        self.postgres_process = self.postgres.start()
        assert processes.wait_until(self.postgres.answers, READY_S), self.postgres.log.read_text()

    def crash_postgres(self) -> None:
        """Immediate shutdown: every session is cut, the next start recovers."""
        self.postgres_process.send_signal(signal.SIGQUIT)
        self.postgres_process.wait(READY_S)

    def start_valkey(self) -> None:
        self.valkey_process = self.valkey.start()
        assert processes.wait_until(self.valkey.answers, READY_S), self.valkey.log.read_text()

    def crash_valkey(self) -> None:
        processes.stop(self.valkey_process, signal.SIGKILL, 5)

    def flush_valkey(self) -> None:
        with redis.Redis.from_url(self.redis_url) as client:
            client.flushall()

    # --- Looking ---

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """What a statement answers; a statement that changes rows answers nothing."""
        where = {"host": str(self.postgres.sockets), "user": "postgres", "dbname": embedded.TEMPLATE}
        with psycopg.connect(**where, autocommit=True) as connection:  # type: ignore[arg-type]
            cursor = connection.execute(sql, values)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def count(self, table: str) -> int:
        found: int = self.rows(f"SELECT count(*) FROM {table}")[0][0]
        return found

    def check_books(self) -> None:
        """Insist that the books balance, as an operator would."""
        self.stack.run("django", "check_books")

    def files(self, *parts: str) -> list[Path]:
        """All files below a folder of the shop's."""
        return [path for path in self.folder.joinpath(*parts).rglob("*") if path.is_file()]

    def expired(self, url: str) -> str:
        """The same address of ours, as it would be had it run out."""
        head, _, signed = url.rpartition("/")
        keys: dict[str, Any] = {"key": self.stack.environment["SECRET_KEY"], "salt": "core.storage.door"}
        named = signing.loads(signed, **keys)
        return f"{head}/{signing.dumps(named | {'e': 1}, compress=True, **keys)}"

    # --- The outside world ---

    def control(self, method: str, path: str, /, **body: Any) -> Any:
        """Turn or read the sandbox."""
        response = requests.request(method, f"{self.stack.sandbox}/control/{path}", json=body or None, timeout=60)
        assert response.ok, response.text
        return response.json()

    def fault(self, provider: str, mode: str, /, **more: Any) -> None:
        """Let the next calls to a provider go wrong."""
        self.control("POST", "faults", provider=provider, mode=mode, **more)

    def customer(self, email: str | None = None) -> Customer:
        """A person who has joined."""
        person = Customer(self.stack, email or f"{uuid.uuid4().hex}@example.com")
        person.join()
        return person


def key() -> str:
    """A fresh Idempotency-Key."""
    return uuid.uuid4().hex


def at_once(act: Callable[[int], T], times: int) -> list[T]:
    """The same thing many times at the same moment, from as many threads."""
    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(act, range(times)))


def refused(response: requests.Response, status: int, code: str, charged: str = "none") -> dict[str, Any]:
    """One clear sentence in the one envelope, with the right code and the truth about money."""
    told = f"{response.request.method} {response.request.url}: {response.status_code} {response.text[:400]}"
    assert response.status_code == status, told
    body: dict[str, Any] = response.json()
    assert set(body) == {"error", "message", "details", "charged", "request_id"}, told
    assert (body["error"], body["charged"]) == (code, charged), told
    assert body["message"], told
    assert len(body["message"]) < 200, told
    assert not any(word in response.text for word in ("Traceback", 'File "', "psycopg", "site-packages")), told
    assert response.headers["X-Request-ID"] == body["request_id"]
    return body


def named(body: dict[str, Any]) -> set[str]:
    """The fields that a refusal names."""
    return {item["field"] for item in body["details"] if "field" in item}


def order(person: Customer, item: str) -> dict[str, Any]:
    """A payment that the person has started."""
    payment: dict[str, Any] = person.ok("POST", "payments", key=key(), json={"item": item, "gateway": "razorpay"})
    return payment


def spent(before: dict[str, int], after: dict[str, int]) -> int:
    """How much a balance has gone down."""
    return before["balance"] - after["balance"]

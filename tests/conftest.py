"""The test session: its own servers, a database made from a template, sockets closed but for this machine."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import pytest_socket
import redis
from psycopg import sql

from tests import embedded, skips

if TYPE_CHECKING:
    from pytest_django import DjangoDbBlocker

pytest_plugins = ["tests.people", "tests.stores"]

MAX_SKIPS = 0
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
NUMBER = int(WORKER.removeprefix("gw")) + 1 if WORKER else 0

os.environ["ENVIRONMENT"] = "test"
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
os.environ["MFA_REQUIRED"] = "false"  # tests of the second factor ask for it
if not WORKER:
    SERVERS: embedded.Servers | None = embedded.start()
    os.environ["ATELIER_TEST_FOLDER"] = str(SERVERS.folder)
else:
    SERVERS = None
os.environ["DATABASE_URL"] = os.environ["TEST_DATABASE_URL"]
os.environ["REDIS_URL"] = embedded.numbered(os.environ["TEST_REDIS_URL"], NUMBER)

import django  # noqa: E402  the environment had to be laid out first
from django.conf import settings  # noqa: E402

django.setup()

from accounts.hashers import Argon2id  # noqa: E402

# At its real price the hash would be most of what it costs to make a person; tests of the price ask for it.
MEMORY_COST, Argon2id.memory_cost = Argon2id.memory_cost, 8

# Workers inherit our environment. With this name in it, pytest-django would read their settings before this file
# has told them apart: all would share one Redis database.
del os.environ["DJANGO_SETTINGS_MODULE"]


def pytest_unconfigure() -> None:
    if SERVERS:
        SERVERS.stop()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a run that skipped more than is agreed: a skip must not spread unseen."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if WORKER or reporter is None:
        return
    reasons = [str(report.longrepr) for report in reporter.stats.get("skipped", ())]
    skipped = sum(not any(agreed in reason for agreed in skips.AGREED) for reason in reasons)
    if skipped > MAX_SKIPS and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        reporter.write_line(f"{skipped} tests were skipped; at most {MAX_SKIPS} may be (tests/conftest.py).", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


LONGEST = (
    *("tests/run/test_up.py", "tests/scenarios/test_schema.py", "tests/scenarios/test_faults.py"),
    *("tests/scenarios/test_kill_points.py", "tests/browser/", "tests/scenarios/", "tests/run/"),
    *("tests/generation/test_matrix.py", "tests/generation/test_kie_films.py", "tests/billing/test_subscriptions.py"),
    *("tests/billing/test_ledger_machine.py", "tests/billing/test_payments_machine.py", "tests/core/test_storage.py"),
    *("tests/billing/test_gateway_contract.py", "tests/generation/test_faults.py", "tests/generation/test_disorder.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: one that begins last would have the machine to itself, and mostly wait."""
    begins = {start: place for place, start in enumerate(LONGEST)}
    items.sort(key=lambda item: min((begins[s] for s in LONGEST if item.nodeid.startswith(s)), default=len(LONGEST)))


@pytest.fixture
def slow_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords are hashed at the price that the product pays."""
    monkeypatch.setattr(Argon2id, "memory_cost", MEMORY_COST)


def pytest_runtest_setup() -> None:
    pytest_socket.socket_allow_hosts(["127.0.0.1", "::1", "localhost"], allow_unix_socket=True)


# --- The database -----------------------------------------------------------------------------------------------------


def administer() -> psycopg.Connection[Any]:
    """A connection to the server, to none of the databases that tests use."""
    where = settings.DATABASES["default"]
    return psycopg.connect(
        host=where["HOST"] or None,
        port=where["PORT"] or None,
        user=where["USER"] or None,
        password=where["PASSWORD"] or None,
        dbname="postgres",
        autocommit=True,
    )


def copy_database(source: str, target: str) -> None:
    """Make `target` anew as a copy of `source`, ending every session on it."""
    with administer() as admin:
        drop_database(target, admin)
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
                sql.Identifier(target), sql.Identifier(source)
            )
        )


def drop_database(name: str, admin: psycopg.Connection[Any]) -> None:
    admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _migrated_template(name: str) -> None:
    """Make and migrate the template unless it is there: on servers that the environment names."""
    from django.core.management import call_command
    from django.db import connection

    with open(Path(os.environ["ATELIER_TEST_FOLDER"]) / "template.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with administer() as admin:
            if embedded.is_current(name, admin):
                return
            drop_database(name, admin)
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            connection.settings_dict["NAME"] = name
            call_command("migrate", verbosity=0, interactive=False)
            connection.close()
            embedded.mark(name, admin)


@pytest.fixture(scope="session")
def start_over(django_db_blocker: DjangoDbBlocker) -> Iterator[Callable[[], None]]:
    """A migrated database of this worker's own, and what makes it anew after those who commit.

    Flushing is out of the question: the ledger and the audit log refuse TRUNCATE.
    """
    from django.db import connection, connections

    given = settings.DATABASES["default"]["NAME"]
    template, mine = f"{given}_template", f"{given}_{WORKER or 'main'}"
    with django_db_blocker.unblock():
        _migrated_template(template)
        copy_database(template, mine)
    connection.settings_dict["NAME"] = settings.DATABASES["default"]["NAME"] = mine

    def make_anew() -> None:
        connections.close_all()
        copy_database(template, mine)

    yield make_anew
    with django_db_blocker.unblock():
        connections.close_all()
        with administer() as admin:
            drop_database(mine, admin)


@pytest.fixture(scope="session")
def django_db_setup(start_over: Callable[[], None]) -> None:
    """Tests that commit leave a new database behind."""
    from django.test import TransactionTestCase

    TransactionTestCase._fixture_teardown = lambda self: start_over()  # type: ignore[method-assign]


@pytest.fixture(scope="session")
def database_url(django_db_setup: None) -> str:
    """This worker's database, for processes that a test starts."""
    base, _, _ = os.environ["TEST_DATABASE_URL"].rpartition("/")
    return f"{base}/{settings.DATABASES['default']['NAME']}"


@pytest.fixture(scope="session")
def redis_url() -> str:
    """This worker's Redis database, for processes that a test starts."""
    return os.environ["REDIS_URL"]


@pytest.fixture(scope="session")
def _redis(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture(autouse=True)
def _fresh_redis(_redis: redis.Redis) -> None:
    _redis.flushdb()

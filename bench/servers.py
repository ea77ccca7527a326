"""The PostgreSQL and Valkey of one measurement: the embedded ones, on data of their own, thrown away at the end."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from config.embedded import addresses, postgres, processes, valkey

ROOT = Path(__file__).resolve().parents[1]
VAR = ROOT / "var" / "bench"  # ignored by git: environments of the peers, logs
READY_S = 60


@dataclass(frozen=True)
class Servers:
    """Where both listen."""

    postgres: postgres.Postgres

    @property
    def sockets(self) -> Path:
        return self.postgres.sockets

    def database_url(self, name: str = "bench") -> str:
        """The address of a database, which is made if it is not there."""
        self.postgres.create_database(name)
        return addresses.database_url_at(self.sockets, name)

    @property
    def postgres_pid(self) -> int:
        return int((self.postgres.data / "postmaster.pid").read_text().split()[0])

    def redis_url(self, number: int = 0) -> str:
        return addresses.redis_url_at(self.sockets, number)


@contextmanager
def running(settings: Mapping[str, str] = postgres.DURABLE) -> Iterator[Servers]:
    """Both servers, with PostgreSQL's settings as `manage.py up` has them unless told otherwise."""
    folder = Path(tempfile.mkdtemp(prefix="atelier-bench-", dir="/tmp"))  # a socket's path must be short
    folder.chmod(0o711)  # PostgreSQL may run as another user; the folders inside are private
    sockets = folder / "run"
    cluster = postgres.Postgres(
        folder / "postgres", sockets, folder / "postgres.log", addresses.server_uid(ROOT), dict(settings)
    )
    started = []
    try:
        cluster.initialise()
        started.append((cluster.start(), postgres.STOP))
        messages = valkey.Valkey(sockets, folder / "valkey.log")
        started.append((messages.start(), valkey.STOP))
        for server in (cluster, messages):
            if not processes.wait_until(server.answers, READY_S):
                raise RuntimeError(f"{type(server).__name__} did not start:\n{server.log.read_text()}")
        yield Servers(cluster)
    finally:
        for process, signal in reversed(started):
            processes.stop(process, signal, 30)
        shutil.rmtree(folder, ignore_errors=True)


def lay_out(environment: Mapping[str, str]) -> None:
    """Make this process an Atelier of that environment, on a migrated database.

    Call it before anything of Django is imported.
    """
    os.environ.update(environment, DJANGO_SETTINGS_MODULE="config.settings", LOG_LEVEL="ERROR")
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)

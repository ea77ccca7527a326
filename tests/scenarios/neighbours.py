"""A PgBouncer and a RabbitMQ of the test's own, where the machine has them."""

from __future__ import annotations

import configparser
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import psycopg

from config.embedded import processes
from tests.ports import free_port, free_ports
from tests.scenarios.shop import READY_S, Shop
from tests.scenarios.stack import ROOT

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
RABBITMQ = shutil.which("rabbitmq-server", path="/usr/lib/rabbitmq/bin")  # what /usr/sbin wraps, for its own user
EPMD = shutil.which("epmd")


def is_open(port: int) -> bool:
    """Whether somebody listens."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _version() -> tuple[int, ...]:
    said = subprocess.run([str(PGBOUNCER), "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(part) for part in said.split()[1].split(".")[:2])


class Pooler:
    """PgBouncer as deploy/pgbouncer has it, in front of the shop's PostgreSQL, with very few connections to it."""

    def __init__(self, shop: Shop, database: str, user: str) -> None:
        self.port, self.user = free_port(), user
        self.url = f"postgres://{user}@127.0.0.1:{self.port}/{database}"
        sockets = shop.postgres.sockets  # the one folder that is private to whom PostgreSQL runs as
        config = configparser.ConfigParser(interpolation=None)
        config.read(ROOT / "deploy" / "pgbouncer" / "pgbouncer.ini")
        ours = config["pgbouncer"]
        self.prepares = _version() >= (1, 21)  # Debian 12 has 1.18
        if not self.prepares:
            del ours["max_prepared_statements"]
        ours.update({"listen_addr": "127.0.0.1", "listen_port": str(self.port), "auth_type": "trust"})
        ours.update(
            {
                "auth_file": str(sockets / "userlist.txt"),
                "default_pool_size": "3",
                "reserve_pool_size": "0",
                "stats_users": user,
            }
        )
        config["databases"] = {"*": f"host={sockets} user={user}"}
        with open(sockets / "pgbouncer.ini", "w") as file:
            config.write(file)
        (sockets / "userlist.txt").write_text(f'"{user}" ""\n')
        self.log = shop.folder / "pgbouncer.log"
        self.process = processes.spawn(
            [str(PGBOUNCER), sockets / "pgbouncer.ini"],
            cwd=Path("/"),
            log=self.log,
            unprivileged=shop.postgres.unprivileged,
        )
        if not processes.wait_until(lambda: is_open(self.port), READY_S):
            raise AssertionError(self.log.read_text())

    def show(self, what: str) -> list[dict[str, Any]]:
        """What its console tells."""
        where = {"host": "127.0.0.1", "port": self.port, "user": self.user, "dbname": "pgbouncer"}
        with psycopg.connect(**where, autocommit=True, cursor_factory=psycopg.ClientCursor) as console:  # type: ignore[arg-type]
            console.row_factory = psycopg.rows.dict_row
            return console.execute(f"SHOW {what}").fetchall()  # type: ignore[arg-type,return-value]

    def stop(self) -> None:
        processes.stop(self.process, signal.SIGTERM, 10)


class Broker:
    """RabbitMQ with everything in one folder; its port mapper is a child of ours, too, or it would stay."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir()
        self.port, distribution, mapper = free_ports(3)
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "ERL_EPMD_PORT": str(mapper),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_CONFIG_FILE": str(folder / "none"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
        }
        self.mapper = self._spawn(str(EPMD), "-address", "127.0.0.1", "-port", str(mapper))
        self.start()

    def start(self) -> None:
        self.process = self._spawn(str(RABBITMQ))
        if not processes.wait_until(lambda: is_open(self.port), READY_S, 0.1):
            raise AssertionError((self.folder / "output").read_text())

    def stop(self) -> None:
        """End the server alone, at once; `start()` brings it back with what was in its queues."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(READY_S)

    def close(self) -> None:
        self.stop()
        processes.stop(self.mapper, signal.SIGKILL, 5)

    def _spawn(self, *command: str) -> subprocess.Popen[bytes]:
        log = self.folder / "output"
        return processes.spawn(command, cwd=self.folder, log=log, env=self.environment, death_signal=signal.SIGKILL)

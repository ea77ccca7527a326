"""Ports for servers that somebody else will start a little later."""

from __future__ import annotations

import os
import random
import socket

# Below those that systems hand out by themselves, so that no connection takes one meanwhile; each worker has its own.
FIRST, EACH = 10_000, 1_000


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, nor will unless told to."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 20
    found: list[int] = []
    while len(found) < count:
        port = FIRST + number * EACH + random.randrange(EACH)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        if port not in found:
            found.append(port)
    return found


def free_port() -> int:
    return free_ports(1)[0]

"""Clients that never finish their request: the web process goes on for everybody else."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import requests

from tests.scenarios.stack import Stack, until


@pytest.fixture(scope="module")
def web(
    start_over: Callable[[], None], tmp_path_factory: pytest.TempPathFactory, database_url: str, redis_url: str
) -> Iterator[Stack]:
    """The web process alone, with four threads: two may wait for bodies."""
    running = Stack(tmp_path_factory.mktemp("web"), database_url=database_url, redis_url=redis_url)
    try:
        running.start("web")
        yield running
    finally:
        running.stop()
        start_over()


def unfinished(web: Stack, length: str, start: bytes) -> socket.socket:
    head = f"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{length}\r\n\r\n"
    client = socket.create_connection(("127.0.0.1", web.port))
    client.sendall(head.encode() + start)
    return client


@pytest.mark.parametrize(
    ("length", "start"), [("Content-Length: 100", b'{"email"'), ("Transfer-Encoding: chunked", b'8\r\n{"email"\r\n')]
)
def test_unfinished_bodies_do_not_hold_every_thread(web: Stack, length: str, start: bytes) -> None:
    def login() -> requests.Response:
        return requests.post(f"{web.api}/auth/login", json={"email": "a@example.com", "password": "x"}, timeout=60)

    assert login().status_code == 401
    with ExitStack() as held:
        for _ in range(12):
            held.enter_context(unfinished(web, length, start))
        (refused,) = until(lambda: [answer for answer in (login(),) if answer.status_code == 503], "turns are taken")

        assert (refused.json()["error"], refused.json()["charged"]) == ("unavailable", "none")
        assert refused.headers["Retry-After"] == "1"
        for _ in range(10):
            assert requests.get(f"{web.url}/health/live", timeout=60).status_code == 200

    until(lambda: login().status_code == 401, "logins work again")

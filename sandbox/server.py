"""The process: two listening sockets, the agenda, and an end that does not wait for hanging callers."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from sandbox import app, mail
from sandbox.box import Box
from sandbox.settings import Settings
from sandbox.state import StateInUse

GRACE_S = 1


class StartError(Exception):
    """Why the sandbox cannot start; one line that names the setting."""


class Protocol(H11Protocol):
    """Lets a handler reach its connection, to cut it without an answer."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class Server(uvicorn.Server):
    """uvicorn re-raises the signal that stopped it, which would skip our own end: signals are taken in `run`."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(host: str, port: int, setting: str) -> socket.socket:
    try:
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, number)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(512)
    except OSError as error:
        raise StartError(f"cannot listen on {host}:{port} ({error.strerror}); set {setting} to a free port.") from error
    return listener


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises: StartError."""
    web = listen(settings.host, settings.port, "SANDBOX_PORT")
    smtp = listen(settings.host, settings.smtp_port, "SANDBOX_SMTP_PORT")
    settings = replace(settings, port=web.getsockname()[1], smtp_port=smtp.getsockname()[1])
    try:
        box = Box.open(settings)
    except StateInUse as error:
        raise StartError(f"{settings.directory} is used by another sandbox ({error}); set SANDBOX_DIR.") from error
    except OSError as error:
        raise StartError(f"SANDBOX_DIR {settings.directory} cannot be used: {error}.") from error
    try:
        await _serve(box, web, smtp)
    finally:
        box.close()


async def _serve(box: Box, web: socket.socket, smtp: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    server = Server(
        uvicorn.Config(
            app.build(box), http=Protocol, ws="none", lifespan="off", log_level="warning", access_log=False,
            timeout_graceful_shutdown=GRACE_S, server_header=False,
        )
    )  # fmt: skip

    def stop() -> None:
        box.stopping.set()
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    mail_server = await loop.create_server(lambda: mail.server(box), sock=smtp)
    agenda = asyncio.create_task(box.agenda.run())
    announcing = asyncio.create_task(_announce(box, server))
    try:
        await server.serve(sockets=[web])
    finally:
        stop()
        mail_server.close()
        for task in (announcing, agenda):
            task.cancel()
        await asyncio.gather(announcing, agenda, return_exceptions=True)


async def _announce(box: Box, server: Server) -> None:
    """Say where it listens, in one line that a parent process can read."""
    while not server.started:
        await asyncio.sleep(0.01)
    settings = box.settings
    web, smtp = f"http://{settings.host}:{settings.port}", f"smtp://{settings.host}:{settings.smtp_port}"
    sys.stdout.write(f"sandbox ready {web} {smtp}\n")
    sys.stdout.flush()

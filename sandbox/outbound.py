"""One plain HTTP request, asynchronous and cancellable, over h11: what webhooks and photo URLs need and no more."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import h11


class RequestFailed(Exception):
    """No complete answer came."""


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes


async def request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    timeout_s: float,
    max_bytes: int = 64 * 1024,
) -> Answer:
    """Send one request on its own connection; redirects are not followed.

    Raises: RequestFailed.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await _exchange(method, url, dict(headers or {}), body, max_bytes)
    except TimeoutError as error:
        raise RequestFailed(f"no answer within {timeout_s:g} s") from error
    except (OSError, h11.ProtocolError, ValueError) as error:
        raise RequestFailed(str(error) or type(error).__name__) from error


async def _exchange(method: str, url: str, headers: dict[str, str], body: bytes, max_bytes: int) -> Answer:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    reader, writer = await asyncio.open_connection(
        parts.hostname, port, ssl=ssl.create_default_context() if secure else None
    )
    try:
        connection = h11.Connection(h11.CLIENT)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = {"Host": parts.netloc.rpartition("@")[2], "Content-Length": str(len(body)), "Connection": "close"}
        writer.write(connection.send(h11.Request(method=method, target=target, headers=[*(lines | headers).items()])))
        writer.write(connection.send(h11.Data(data=body)))
        writer.write(connection.send(h11.EndOfMessage()))
        await writer.drain()
        return await _read(reader, connection, max_bytes)
    finally:
        writer.transport.abort()


async def _read(reader: asyncio.StreamReader, connection: h11.Connection, max_bytes: int) -> Answer:
    status, body = 0, bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(65536))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > max_bytes:
                raise RequestFailed(f"answer is larger than {max_bytes} bytes")
        elif isinstance(event, h11.EndOfMessage):
            return Answer(status, bytes(body))
        elif isinstance(event, h11.ConnectionClosed):
            raise RequestFailed("connection closed before a complete answer")

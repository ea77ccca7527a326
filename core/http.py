"""Outbound HTTP: `call` a configured provider, or `fetch` bytes from an address that somebody else gave us.

Both have hard time and size limits and follow no redirect. The errors say whether the other side can have acted.
"""

from __future__ import annotations

import hashlib
import ipaddress
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import urlsplit

import orjson
import requests
import structlog
import urllib3

from core import tracing, wire

log = structlog.get_logger("http")

_CHUNK = 64 * 1024
USER_AGENT = "Atelier/0.1"


class CallFailed(Exception):
    """A provider could not be asked, or did not answer."""


class NotSent(CallFailed):
    """The provider surely never saw the request: not one byte of it left. Resend freely."""


class NoAnswer(CallFailed):
    """Bytes went out and no whole answer came back: whether the provider acted is unknown."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A provider's whole answer; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON.

        Raises: ValueError for a body that is not.
        """
        return orjson.loads(self.body)


_local = threading.local()


_only_looks: ContextVar[bool] = ContextVar("atelier_only_looks", default=False)


@contextmanager
def looking_only() -> Iterator[None]:
    """Providers are asked and nothing is changed there: whatever would is refused as not sent."""
    token = _only_looks.set(True)
    try:
        yield
    finally:
        _only_looks.reset(token)


def _session() -> requests.Session:
    """A session per thread: idempotent reads keep their connection."""
    if not hasattr(_local, "session"):
        _local.session = wire.session(USER_AGENT)
    session: requests.Session = _local.session
    return session


def call(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    json: Any = None,
    data: bytes | IO[bytes] | None = None,
    auth: tuple[str, str] | None = None,
    params: Mapping[str, Any] | None = None,
    timeout_s: float = 10,
    max_bytes: int = 1 << 20,
    is_write: bool | None = None,
) -> Answer:
    """Ask a provider whose base URL is a setting. Never inside a transaction, but for looking_only.

    `is_write`: whether it changes something there; unless told, whatever is no GET does.

    Units: `timeout_s` bounds connecting, each wait for bytes, and the whole answer.
    Raises: NotSent, NoAnswer. An HTTP error status is an answer.
    """
    if _only_looks.get() and (method != "GET" if is_write is None else is_write):
        raise NotSent(f"{method} {_safe(url)}: not while only looking")
    sent = dict(headers or {})
    if json is not None:
        data = orjson.dumps(json)
        sent["Content-Type"] = "application/json"
    # A kept connection that the server has just closed would make a write's outcome unknown for nothing.
    session = _session() if method == "GET" else wire.session(USER_AGENT)
    began = time.perf_counter()
    with _told(method, url) as told, wire.exchange(timeout_s) as exchange:
        try:
            with session.request(
                method,
                url,
                headers=sent,
                data=data,
                auth=auth,
                params=params,
                timeout=(min(timeout_s, 5), timeout_s),
                allow_redirects=False,
                stream=True,
            ) as response:
                told.attributes["http.response.status_code"] = response.status_code
                body = bytearray()
                for chunk in response.iter_content(_CHUNK):
                    body += chunk
                    if len(body) > max_bytes:
                        raise NoAnswer(f"{method} {_safe(url)}: the answer exceeds {max_bytes} bytes")
            if exchange.is_over:  # what was cut off can look like an end
                raise NoAnswer(f"{method} {_safe(url)}: no whole answer within {timeout_s} s")
            ms = round((time.perf_counter() - began) * 1000, 1)
            log.debug("called", method=method, url=_safe(url), status=response.status_code, ms=ms)
            return Answer(
                response.status_code,
                {name.lower(): value for name, value in response.headers.items()},
                bytes(body),
            )
        except requests.RequestException as error:
            kind = NoAnswer if exchange.has_begun else NotSent
            raise kind(f"{method} {_safe(url)}: {type(error).__name__}") from error
        finally:
            if session is not getattr(_local, "session", None):
                session.close()


def retry_after_s(headers: Mapping[str, str]) -> int | None:
    """How long an answer asks us to wait, an hour at most; None where it names no sensible seconds."""
    said = str(headers.get("retry-after", ""))
    return min(int(said), 3600) if said.isdecimal() and len(said) < 9 else None


def _safe(url: str) -> str:
    """The URL without its query, which may hold a signature."""
    return url.split("?", 1)[0]


def _told(method: str, url: str) -> AbstractContextManager[tracing.Told]:
    """Its span: to whom, and not with what, for a path may open something too."""
    return tracing.span(method, "CLIENT", {"http.request.method": method, "server.address": origin(url)[1]})


class FetchError(Exception):
    """The bytes could not be had."""


class FetchRefused(FetchError):
    """The address may not be fetched, or says there is nothing: another try gives the same."""


class FetchTooLarge(FetchRefused):
    """More bytes than allowed."""


class FetchFailed(FetchError):
    """The network or the other side failed: another try may succeed."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was written: length, the declared content type (never to be believed), SHA-256 in hex."""

    bytes: int
    content_type: str
    sha256: str


def origin(url: str) -> tuple[str, str, int]:
    """The URL's (scheme, host, port), the host as the network spells it.

    Raises: FetchRefused when it has none.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
    except ValueError as error:
        raise FetchRefused("That is not a URL.") from error
    if not parts.hostname or not port:
        raise FetchRefused("That is not an http(s) URL.")
    try:
        host = parts.hostname if parts.hostname.isascii() else parts.hostname.encode("idna").decode()
    except UnicodeError as error:
        raise FetchRefused("That is not a URL.") from error
    return parts.scheme, host.lower(), port


# What `ipaddress` calls global and may lead inside all the same: NAT64 and other ways to an IPv4 address, site-local.
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in ("::/96", "64:ff9b::/96", "64:ff9b:1::/48", "fec0::/10", "192.0.0.0/24", "192.88.99.0/24")
)


def is_public(address: str) -> bool:
    """Whether the address is on the public internet: nothing private, loopback, link-local, mapped or reserved."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is not None:
            return False
    if any(ip in network for network in _NOT_PUBLIC):
        return False
    return ip.is_global and not ip.is_multicast


PUBLIC_PORTS = {443}


def check_public(url: str) -> None:
    """Make sure that a stranger's URL is https at its own port: elsewhere we could be sent knocking at doors.

    Raises: FetchRefused.
    """
    scheme, _, port = origin(url)
    if scheme != "https" or port not in PUBLIC_PORTS:
        raise FetchRefused("The URL must start with https:// and name no port.")
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise FetchRefused("The URL must not carry credentials.")


def _resolve(host: str, port: int) -> str:
    """One public address of the host, looked up once; every address must be public.

    Raises: FetchRefused, FetchFailed.
    """
    try:
        found = {str(row[4][0]) for row in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError) as error:
        raise FetchFailed("The address could not be looked up.") from error
    if not found or not all(is_public(address.split("%", 1)[0]) for address in found):
        raise FetchRefused("The address does not lead to the public internet.")
    return min(found, key=lambda address: (":" in address, address))


def fetch(
    url: str, to: IO[bytes], *, max_bytes: int, timeout_s: float = 60, trusted_origin: str | None = None
) -> Fetched:
    """Stream the bytes at a URL that a client or a provider gave us into the binary file `to`.

    https at port 443 and public addresses only, looked up once and connected to as looked up; no redirects, no
    credentials. `trusted_origin` is a configured provider's base URL: exactly its origin may be otherwise.
    Units: `timeout_s` bounds the whole transfer.
    Raises: FetchRefused, FetchTooLarge, FetchFailed.
    """
    scheme, host, port = origin(url)
    parts = urlsplit(url)
    trusted = trusted_origin is not None and origin(trusted_origin) == (scheme, host, port)
    if not trusted:
        check_public(url)
    address = host if trusted else _resolve(host, port)
    limits = urllib3.Timeout(connect=min(timeout_s, 10), read=min(timeout_s, 20))
    pool: urllib3.HTTPConnectionPool
    if scheme == "https":
        pool = wire.TLSPool(address, port, timeout=limits, retries=False, server_hostname=host, assert_hostname=host)
    else:
        pool = wire.Pool(address, port, timeout=limits, retries=False)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    named = parts.netloc if parts.netloc.isascii() else f"{host}:{port}"
    with _told("GET", url) as told, wire.exchange(timeout_s) as exchange:
        try:
            response = pool.urlopen(
                "GET",
                path,
                headers={"Host": named, "User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
                redirect=False,
                preload_content=False,
                retries=False,
            )
            told.attributes["http.response.status_code"] = response.status
            with response:
                fetched = _stream(response, to, max_bytes=max_bytes)
        except urllib3.exceptions.HTTPError as error:
            raise FetchFailed(f"The transfer failed: {type(error).__name__}.") from error
        finally:
            pool.close()
        if exchange.is_over:  # what was cut off can look like an end
            raise FetchFailed("The transfer took too long.")
        return fetched


def _stream(response: urllib3.BaseHTTPResponse, to: IO[bytes], *, max_bytes: int) -> Fetched:
    if 300 <= response.status < 400:
        raise FetchRefused("The URL redirects; give the final address.")
    if response.status >= 500 or response.status == 429:
        raise FetchFailed(f"The address answered {response.status}.")
    if response.status != 200:
        raise FetchRefused(f"The address answered {response.status}.")
    declared = response.headers.get("Content-Length", "")
    if declared.isdigit() and int(declared) > max_bytes:
        raise FetchTooLarge(f"The file is larger than {max_bytes} bytes.")
    digest = hashlib.sha256()
    total = 0
    while chunk := response.read1(_CHUNK, decode_content=False):
        total += len(chunk)
        if total > max_bytes:
            raise FetchTooLarge(f"The file is larger than {max_bytes} bytes.")
        digest.update(chunk)
        to.write(chunk)
    if declared.isdigit() and total != int(declared):
        raise FetchFailed(f"The transfer ended after {total} of {declared} bytes.")
    return Fetched(total, response.headers.get("Content-Type", ""), digest.hexdigest())

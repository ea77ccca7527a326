"""The safe fetcher and the provider call, against real sockets that misbehave."""

from __future__ import annotations

import gzip
import io
import os
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import urllib3

from core import http, wire
from tests.ports import free_port


@contextmanager
def server(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A listener on loopback that hands each connection, after reading its head, to `answer`."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.recv(65536)
                    answer(connection)
                except OSError:
                    continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()


def reply(status: str, body: bytes = b"", *headers: str) -> Callable[[socket.socket], None]:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers])
    return lambda connection: connection.sendall(head.encode() + b"\r\n\r\n" + body)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/a.png",
        "https://127.0.0.1/a.png",
        "https://localhost/a.png",
        "https://2130706433/a.png",
        "https://0177.0.0.1/a.png",
        "https://0x7f.1/a.png",
        "https://[::1]/a.png",
        "https://[::ffff:127.0.0.1]/a.png",
        "https://[::ffff:7f00:1]/a.png",
        "https://[64:ff9b::7f00:1]/a.png",
        "https://[64:ff9b:1::7f00:1]/a.png",
        "https://[::7f00:1]/a.png",
        "https://[fec0::1]/a.png",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/a.png",
        "https://192.168.1.1/a.png",
        "https://100.64.0.1/a.png",
        "https://0.0.0.0/a.png",
        "https://user:password@example.com/a.png",
        "file:///etc/passwd",
        "ftp://example.com/a",
        "https:///a.png",
        "https://example.com:99999/a.png",
        "https://example.com:80/a.png",
        "https://example.com:8443/a.png",
        "https://example.com:22/a.png",
        "not a url",
    ],
)
def test_fetch_refuses_addresses_that_are_not_public_https(url: str) -> None:
    with pytest.raises(http.FetchRefused):
        http.fetch(url, io.BytesIO(), max_bytes=1000)


def test_only_a_providers_own_origin_may_have_another_port(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*args: object, **kwargs: object) -> None:
        raise AssertionError("looked up")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)

    for trusted in ("https://example.com", "https://example.com:8444", "https://other.example:8443"):
        with pytest.raises(http.FetchRefused, match="no port"):
            http.fetch("https://example.com:8443/a.png", io.BytesIO(), max_bytes=10, trusted_origin=trusted)


def test_fetch_refuses_a_name_with_one_private_address_among_public_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 443)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 443)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: rows)

    with pytest.raises(http.FetchRefused):
        http.fetch("https://rebinding.example/a.png", io.BytesIO(), max_bytes=1000)


def test_fetch_streams_from_the_trusted_origin() -> None:
    with server(reply("200 OK", b"x" * 300_000, "Content-Type: image/png")) as origin:
        to = io.BytesIO()
        fetched = http.fetch(f"{origin}/out/1.png?sig=1", to, max_bytes=300_000, trusted_origin=f"{origin}/v1")

    assert (fetched.bytes, fetched.content_type) == (300_000, "image/png")
    assert to.getvalue() == b"x" * 300_000


def test_a_name_in_another_script_is_asked_for_as_the_network_spells_it() -> None:
    assert http.origin("https://Bücher.example/a.png") == ("https", "xn--bcher-kva.example", 443)


def test_fetch_trusts_the_exact_origin_only() -> None:
    with server(reply("200 OK", b"x")) as origin, pytest.raises(http.FetchRefused):
        http.fetch(f"{origin}/a", io.BytesIO(), max_bytes=10, trusted_origin="http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (reply("302 Found", b"", "Location: https://example.com/"), http.FetchRefused),
        (reply("404 Not Found"), http.FetchRefused),
        (reply("503 Down"), http.FetchFailed),
        (reply("429 Slow"), http.FetchFailed),
        (reply("200 OK", b"x" * 2000), http.FetchTooLarge),
        (lambda c: c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nshort"), http.FetchFailed),
        (lambda c: c.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5000), http.FetchTooLarge),
        (lambda c: c.sendall(b"garbage\r\n\r\n"), http.FetchFailed),
    ],
)
def test_fetch_says_whether_another_try_can_help(
    answer: Callable[[socket.socket], None], error: type[Exception]
) -> None:
    with server(answer) as origin, pytest.raises(error):
        http.fetch(f"{origin}/a", io.BytesIO(), max_bytes=1000, timeout_s=5, trusted_origin=origin)


@contextmanager
def dripping(before: bytes, drop: bytes) -> Iterator[str]:
    """A server that says `before` and then `drop` twenty times a second for a minute."""
    stop = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(before)
        for _ in range(1200):
            if stop.wait(0.05):
                return
            connection.sendall(drop)

    with server(drip) as origin:
        try:
            yield origin
        finally:
            stop.set()


DRIPS = [
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"x", id="body"),
    pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", b"x", id="body-without-length"),
    pytest.param(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x", id="head"),
    pytest.param(b"HTTP/1.1 ", b"2", id="status"),
    pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", id="chunks"),
]


@pytest.mark.parametrize(("before", "drop"), DRIPS)
def test_fetch_gives_up_on_a_slow_drip(before: bytes, drop: bytes) -> None:
    with dripping(before, drop) as origin:
        began = time.monotonic()
        with pytest.raises(http.FetchFailed):
            http.fetch(f"{origin}/a", io.BytesIO(), max_bytes=1000, timeout_s=0.5, trusted_origin=origin)

    assert time.monotonic() - began < 20


@pytest.mark.parametrize(("before", "drop"), DRIPS)
def test_call_gives_up_on_a_slow_drip(before: bytes, drop: bytes) -> None:
    with dripping(before, drop) as origin:
        began = time.monotonic()
        with pytest.raises(http.NoAnswer):
            http.call("POST", f"{origin}/v1/x", json={}, timeout_s=0.5)

    assert time.monotonic() - began < 20


def test_calls_and_fetches_leave_no_line_open() -> None:
    def go(origin: str) -> None:
        http.call("GET", f"{origin}/v1/x")
        http.call("POST", f"{origin}/v1/x", json={})
        http.fetch(f"{origin}/a", io.BytesIO(), max_bytes=1000, trusted_origin=origin)

    with server(reply("200 OK", b"x")) as origin:
        go(origin)
        before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
        for _ in range(20):
            go(origin)
        after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

    assert after <= before + 3


def test_call_answers_with_status_headers_and_json() -> None:
    with server(reply("422 No", b'{"message":"why"}', "X-Thing: 1")) as origin:
        answer = http.call("POST", f"{origin}/v1/x", json={"a": 1})

    assert (answer.status, answer.headers["x-thing"], answer.json()) == (422, "1", {"message": "why"})


def test_call_refused_is_surely_not_sent() -> None:
    with pytest.raises(http.NotSent):
        http.call("POST", f"http://127.0.0.1:{free_port()}/v1/x", json={})


@pytest.mark.parametrize(
    "answer",
    [
        lambda c: None,
        lambda c: c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"),
        reply("200 OK", b"x" * 5000),
    ],
)
def test_call_that_was_sent_and_not_wholly_answered_is_unknown(answer: Callable[[socket.socket], None]) -> None:
    with server(answer) as origin, pytest.raises(http.NoAnswer):
        http.call("POST", f"{origin}/v1/x", json={}, timeout_s=3, max_bytes=1000)


def test_call_that_hangs_is_unknown() -> None:
    stop = threading.Event()
    with server(lambda c: stop.wait(60) and None) as origin:
        with pytest.raises(http.NoAnswer):
            http.call("POST", f"{origin}/v1/x", json={}, timeout_s=0.3)
        stop.set()


def test_call_whose_encryption_breaks_after_it_was_sent_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: object) -> None:
        raise ssl.SSLError("decryption failed or bad record mac")

    monkeypatch.setattr(wire._Watched, "getresponse", broken)

    with server(reply("200 OK")) as origin, pytest.raises(http.NoAnswer):
        http.call("POST", f"{origin}/v1/x", json={})


def test_call_to_a_server_without_encryption_is_surely_not_sent() -> None:
    with server(lambda c: c.sendall(b"HTTP/1.1 400 Bad\r\n\r\n")) as origin, pytest.raises(http.NotSent):
        http.call("POST", origin.replace("http:", "https:") + "/v1/x", json={}, timeout_s=3)


def test_a_kept_connection_is_bounded_too() -> None:
    answers = iter([b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", b"HTTP/1.1 200 OK\r\nX: "])

    def answer(connection: socket.socket) -> None:
        for said in answers:
            connection.sendall(said)
            connection.recv(65536)

    with server(answer) as origin:
        assert http.call("GET", f"{origin}/v1/x").body == b"x"
        began = time.monotonic()
        with pytest.raises(http.NoAnswer):
            http.call("GET", f"{origin}/v1/x", timeout_s=0.5)

    assert time.monotonic() - began < 20


def test_call_follows_no_redirect() -> None:
    with server(reply("307 Moved", b"", "Location: https://example.com/")) as origin:
        assert http.call("GET", f"{origin}/v1/x").status == 307


def test_errors_never_show_a_query_string() -> None:
    with pytest.raises(http.NotSent) as caught:
        http.call("PUT", f"http://127.0.0.1:{free_port()}/up?sig=topsecret", data=b"x")

    assert "topsecret" not in str(caught.value)


# --- TLS, pinned ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for pictures.example, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key, crt = folder / "key.pem", folder / "crt.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(crt), "-days", "2", "-subj", "/CN=pictures.example"]
    command += ["-addext", "subjectAltName=DNS:pictures.example"]
    subprocess.run(command, check=True, capture_output=True)
    return crt, key


class Encrypted:
    """A TLS server on loopback that notes which name each client asked for, in the handshake and in the request."""

    def __init__(self, crt: Path, key: Path, answer: bytes) -> None:
        self.names: list[str | None] = []
        self.hosts: list[str] = []
        self.answer = answer
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(crt, key)
        self.context.sni_callback = lambda line, name, context: self.names.append(name)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            with suppress(OSError), self.context.wrap_socket(plain, server_side=True) as line:
                head = line.recv(65536).decode()
                self.hosts += re.findall(r"(?im)^host: (.*?)\r?$", head)
                line.sendall(self.answer)


@pytest.fixture
def encrypted(certificate: tuple[Path, Path]) -> Iterator[Encrypted]:
    made = Encrypted(*certificate, answer=b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx")
    yield made
    made.listener.close()


@pytest.fixture
def believed(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own certificate counts as one of the world's."""
    make = ssl.create_default_context

    def trusting(*args: object, **kwargs: object) -> ssl.SSLContext:
        context = make()
        context.load_verify_locations(certificate[0])
        return context

    monkeypatch.setattr(urllib3.connection, "create_urllib3_context", trusting)


class Resolver:
    """Answers each look-up with the next of its lists, the last one for ever; loopback passes for public, as any port
    does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *lists: list[str]) -> None:
        self.lists = list(lists)
        self.asked = 0
        self.real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self.look_up)
        public = http.is_public
        monkeypatch.setattr(http, "PUBLIC_PORTS", range(1 << 16))
        monkeypatch.setattr(http, "is_public", lambda address: address == "127.0.0.1" or public(address))

    def look_up(self, host: str, port: int, *args: object, **kwargs: object) -> list[tuple[object, ...]]:
        if host.replace(".", "").isdigit():
            return self.real(host, port, *args, **kwargs)  # type: ignore[arg-type, return-value]
        self.asked += 1
        found = self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]


def test_a_pinned_address_is_asked_by_the_names_of_the_url(
    encrypted: Encrypted, believed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    Resolver(monkeypatch, ["127.0.0.1"])

    fetched = http.fetch(f"https://pictures.example:{encrypted.port}/a.png", io.BytesIO(), max_bytes=10)

    assert fetched.bytes == 1
    assert encrypted.names == ["pictures.example"]
    assert encrypted.hosts == [f"pictures.example:{encrypted.port}"]


def test_a_name_is_looked_up_once_so_a_second_answer_leads_nowhere(
    encrypted: Encrypted, believed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = Resolver(monkeypatch, ["127.0.0.1"], ["169.254.169.254"])

    assert http.fetch(f"https://pictures.example:{encrypted.port}/a.png", io.BytesIO(), max_bytes=10).bytes == 1

    assert resolver.asked == 1
    with pytest.raises(http.FetchRefused):
        http.fetch(f"https://pictures.example:{encrypted.port}/a.png", io.BytesIO(), max_bytes=10)
    assert len(encrypted.hosts) == 1


def test_a_certificate_of_another_name_or_of_nobody_is_refused(
    encrypted: Encrypted, believed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    Resolver(monkeypatch, ["127.0.0.1"])

    with pytest.raises(http.FetchFailed):
        http.fetch(f"https://other.example:{encrypted.port}/a.png", io.BytesIO(), max_bytes=10)
    monkeypatch.undo()
    Resolver(monkeypatch, ["127.0.0.1"])
    with pytest.raises(http.FetchFailed):
        http.fetch(f"https://pictures.example:{encrypted.port}/a.png", io.BytesIO(), max_bytes=10)
    assert encrypted.hosts == []


def test_what_is_packed_stays_packed() -> None:
    bomb = gzip.compress(b"x" * 10_000_000)
    assert len(bomb) < 20_000
    with server(reply("200 OK", bomb, "Content-Encoding: gzip")) as origin:
        to = io.BytesIO()
        fetched = http.fetch(f"{origin}/a", to, max_bytes=20_000, trusted_origin=origin)

    assert (fetched.bytes, to.getvalue()) == (len(bomb), bomb)


def test_a_provider_that_answers_with_a_bomb_is_cut_off() -> None:
    bomb = gzip.compress(b"x" * 100_000_000)
    with server(reply("200 OK", bomb, "Content-Encoding: gzip")) as origin, pytest.raises(http.NoAnswer):
        http.call("POST", f"{origin}/v1/x", json={}, max_bytes=1_000_000)


def test_endless_chunks_end_at_the_limit() -> None:
    def pour(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")

    with server(pour) as origin, pytest.raises(http.FetchTooLarge):
        http.fetch(f"{origin}/a", io.BytesIO(), max_bytes=1_000_000, trusted_origin=origin)


def test_a_length_that_lies_brings_no_more_than_allowed() -> None:
    def lie(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + b"x" * 100_000)

    with server(lie) as origin:
        to = io.BytesIO()
        assert http.fetch(f"{origin}/a", to, max_bytes=10, trusted_origin=origin).bytes == 5
    assert len(to.getvalue()) == 5


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.0.1",
            "100.64.0.1",
            "169.254.169.254",
        ),
        *("192.0.2.1", "198.18.0.1", "203.0.113.9", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.0.8"),
        *("::", "::1", "fc00::1", "fd12::1", "fe80::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1"),
        *("64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1", "2002:7f00:1::", "2002:808:808::1", "2001:db8::1"),
        *("2001:0:7f00:1::1", "100::1", "fec0::1"),
    ],
)
def test_these_addresses_are_not_the_public_internet(address: str) -> None:
    assert not http.is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001:830::200e"])
def test_these_are(address: str) -> None:
    assert http.is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        *("https://0x7f000001/", "https://017700000001/", "https://127.1/", "https://127.0.1/", "https://①②⑦.⓪.⓪.①/"),
        *("https://localhost./", "https://[::ffff:a9fe:a9fe]/", "https://[fe80::1%25eth0]/", "https://[fc00::]/"),
        *("https://example.com@127.0.0.1/", "https://127.0.0.1\\@example.com/", "https://127.0.0.1#@example.com/"),
        *("https://127.0.0.1%2f@example.com/", "https://127.0.0.1:443\t/", "https://exa mple.com/", "//127.0.0.1/"),
        *("gopher://127.0.0.1/", "https://[::1/", "https://a..b/", f"https://{'a' * 300}.example/", "https://\x00/"),
    ],
)
def test_no_spelling_leads_inside(url: str) -> None:
    with pytest.raises(http.FetchError):
        http.fetch(url, io.BytesIO(), max_bytes=1000, timeout_s=5)

"""Connections under `core.http`: each knows whether a request began to leave, and can be cut off at a deadline.

Socket time-outs bound each wait for bytes, so whoever sends one byte now and then holds a thread for as long as they
like. Here the whole exchange, its TLS handshake and its head included, ends when its time is over.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection


class Exchange:
    """One request and its answer. `has_begun`: bytes of the request may have left; `is_over`: its time ran out."""

    def __init__(self) -> None:
        self.has_begun = False
        self.is_over = False
        self._line: socket.socket | None = None
        self._left: list[socket.socket] = []
        self._has_ended = False
        self._lock = threading.Lock()

    def use(self, line: socket.socket) -> None:
        """This is the line to cut; at once, when it comes too late."""
        with self._lock:
            self._line = line
            if self.is_over:
                self._shut()

    def cut(self) -> None:
        """End it: whoever waits for bytes on the line gets none any more."""
        with self._lock:
            self.is_over = True
            self._shut()

    def leave(self, line: socket.socket) -> None:
        """The connection has closed, but its answer may still be read: the line goes when the exchange ends."""
        with self._lock:
            self._left.append(line)
            if self._has_ended:
                self._close_left()

    def end(self) -> None:
        """All that was wanted has been read, or never will be."""
        with self._lock:
            self._has_ended, self._line = True, None
            self._close_left()

    def _close_left(self) -> None:
        while self._left:
            self._left.pop().close()

    def _shut(self) -> None:
        if self._line is not None:
            with suppress(OSError):
                self._line.shutdown(socket.SHUT_RDWR)


_local = threading.local()


def _current() -> Exchange:
    """This thread's exchange, or its last one."""
    if not hasattr(_local, "exchange"):
        _local.exchange = Exchange()
        _local.exchange.end()
    found: Exchange = _local.exchange
    return found


@contextmanager
def exchange(time_s: float) -> Iterator[Exchange]:
    """What this thread sends and receives in the body ends after `time_s`; then the answer is not whole."""
    began = Exchange()
    timer = threading.Timer(time_s, began.cut)
    timer.daemon = True
    _local.exchange = began
    timer.start()
    try:
        yield began
    finally:
        timer.cancel()
        began.end()


class _Watched(HTTPConnection):
    """Hands its line to the exchange that it serves; kept connections serve one after the other."""

    _line: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        made = super()._new_conn()
        # A second handle on the same line: TLS takes the first one over.
        self._line = socket.socket(fileno=os.dup(made.fileno()))
        _current().use(self._line)
        return made

    def putrequest(self, *args: Any, **kwargs: Any) -> None:
        if self._line is not None:
            _current().use(self._line)
        super().putrequest(*args, **kwargs)

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        _current().has_begun = True
        super().send(data)

    def close(self) -> None:
        super().close()
        line, self._line = self._line, None
        if line is not None:
            _current().leave(line)


class _WatchedTLS(_Watched, HTTPSConnection):
    pass


class Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Watched


class TLSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _WatchedTLS


class Adapter(HTTPAdapter):
    """requests on watched connections."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": Pool, "https": TLSPool}


def session(user_agent: str) -> requests.Session:
    """A session on watched connections that takes nothing from the environment."""
    made = requests.Session()
    made.trust_env = False
    made.headers["User-Agent"] = user_agent
    made.mount("http://", Adapter())
    made.mount("https://", Adapter())
    return made

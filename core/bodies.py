"""Request bodies: how long those are that come in chunks, and that slow ones do not hold every thread."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any

from django.conf import settings

from core.errors import Unavailable

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_CHUNK = 64 * 1024
_IN_MEMORY = 1 << 20
_FREE_THREADS = 2  # of each web process, never waiting for a body
_TURN_WITHIN_S = 1
_WITHOUT_BODY = ("GET", "HEAD", "OPTIONS")


class Turns:
    """Lets only so many threads wait for bodies at once: the server reads without a time limit, and holds the thread.

    A body that has arrived is read in no time. Whoever finds everybody waiting for slow ones is told to try again; what
    brings no body goes on. A proxy that hands over whole requests keeps slow ones away altogether.
    """

    def __init__(self, count: int) -> None:
        self._free = threading.BoundedSemaphore(max(1, count))

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Raises: Unavailable when none is free in time."""
        if not self._free.acquire(timeout=_TURN_WITHIN_S):
            raise Unavailable("Too many requests are being received slowly; try again.", retry_after=1)
        try:
            yield
        finally:
            self._free.release()


class Body:
    """A `wsgi.input` that is read by turns."""

    def __init__(self, source: Any, turns: Turns) -> None:
        self._source = source
        self._turns = turns

    def read(self, size: int = -1) -> bytes:
        with self._turns.turn():
            return bytes(self._source.read(size))

    def readline(self, size: int = -1) -> bytes:
        with self._turns.turn():
            return bytes(self._source.readline(size))


class _Refused:
    """What the view that wants to read a body gets to hear: it answers as for every error."""

    def __init__(self, error: Unavailable) -> None:
        self._error = error

    def read(self, size: int = -1) -> bytes:
        raise self._error

    readline = read


class Bodies:
    """WSGI middleware that receives a body in chunks whole and says how long it is; phones stream their uploads so.

    Django reads no further than announced. What is longer than anything we take is cut off there: every view then
    refuses it by its own limit.
    """

    def __init__(self, application: WSGIApplication) -> None:
        self.application = application
        self.max_bytes: int = settings.PHOTO_MAX_BYTES + _IN_MEMORY
        self.turns = Turns(settings.WEB_THREADS - _FREE_THREADS)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        source = Body(environ["wsgi.input"], self.turns)
        is_open = environ.get("wsgi.input_terminated") and not environ.get("CONTENT_LENGTH")
        if not is_open or environ["REQUEST_METHOD"] in _WITHOUT_BODY:
            return self.application(environ | {"wsgi.input": source}, start_response)
        with SpooledTemporaryFile(max_size=_IN_MEMORY) as body:
            try:
                length = self._receive(source, body)
            except Unavailable as error:
                refused = environ | {"wsgi.input": _Refused(error), "CONTENT_LENGTH": "1"}
                return self.application(refused, start_response)
            body.seek(0)
            measured = environ | {"wsgi.input": body, "CONTENT_LENGTH": str(length)}
            return self.application(measured, start_response)

    def _receive(self, source: Body, to: IO[bytes]) -> int:
        length = 0
        while length < self.max_bytes and (chunk := source.read(_CHUNK)):
            to.write(chunk)
            length += len(chunk)
        return length

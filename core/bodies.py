"""Request bodies that come in chunks: their length is not announced, and Django reads no further than announced."""

from __future__ import annotations

from collections.abc import Iterable
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any

from django.conf import settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_CHUNK = 64 * 1024
_IN_MEMORY = 1 << 20
_WITHOUT_BODY = ("GET", "HEAD", "OPTIONS")


class Measured:
    """WSGI middleware that receives such a body whole and says how long it is; phones stream their uploads so.

    What is longer than anything we take is cut off there: every view then refuses it by its own limit.
    """

    def __init__(self, application: WSGIApplication) -> None:
        self.application = application
        self.max_bytes: int = settings.PHOTO_MAX_BYTES + _IN_MEMORY

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        is_open = environ.get("wsgi.input_terminated") and not environ.get("CONTENT_LENGTH")
        if not is_open or environ["REQUEST_METHOD"] in _WITHOUT_BODY:
            return self.application(environ, start_response)
        with SpooledTemporaryFile(max_size=_IN_MEMORY) as body:
            length = self._receive(environ["wsgi.input"], body)
            body.seek(0)
            measured = environ | {"wsgi.input": body, "CONTENT_LENGTH": str(length)}
            return self.application(measured, start_response)

    def _receive(self, source: Any, to: IO[bytes]) -> int:
        length = 0
        while length < self.max_bytes and (chunk := source.read(_CHUNK)):
            to.write(chunk)
            length += len(chunk)
        return length

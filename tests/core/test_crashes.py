"""Errors that nobody foresaw, as Sentry hears of them: over a real socket, and without anything that is somebody's."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from threading import Thread
from typing import Any

import pytest
import sentry_sdk
import structlog

from core import context, logs
from core.crashes import ToSentry

heard: Queue[bytes] = Queue()


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        heard.put(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def told() -> Iterator[Any]:
    """A logger whose errors go to a Sentry of ours, and the next event that arrives there."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    Thread(target=server.serve_forever, daemon=True).start()
    dsn = f"http://public@127.0.0.1:{server.server_port}/1"
    handler = ToSentry(dsn=dsn, environment="test", scrub=logs.scrub)
    root = logging.getLogger()
    root.addHandler(handler)

    def event() -> dict[str, Any]:
        sentry_sdk.flush(60)
        envelope = heard.get(timeout=60).split(b"\n")
        return dict(json.loads(envelope[2]))

    yield event
    root.removeHandler(handler)
    sentry_sdk.get_client().close(timeout=1)
    sentry_sdk.get_global_scope().set_client(None)
    server.shutdown()
    server.server_close()


def crash(word: str) -> None:
    letter = f"to alice@example.com {word}"
    raise RuntimeError(f"no door opens to https://shop.example/reset-password/{word} {len(letter)}")


def test_an_error_is_told_with_its_stack_and_its_request(told: Any) -> None:
    with context.use(request_id="0123456789abcdef0123456789abcdef"):
        try:
            crash("opensesame")
        except RuntimeError:
            structlog.get_logger("error").exception("unhandled", body="opensesame")
    event = told()

    (error,) = event["exception"]["values"]
    assert error["type"] == "RuntimeError"
    assert error["stacktrace"]["frames"][-1]["function"] == "crash"
    assert event["tags"] == {
        "event": "unhandled",
        "logger": "error",
        "request_id": "0123456789abcdef0123456789abcdef",
    }
    assert event["environment"] == "test"
    assert "opensesame" not in json.dumps({**event, "exception": [{**error, "stacktrace": None}]})
    assert "alice" not in json.dumps([frame.get("vars") for frame in error["stacktrace"]["frames"]])
    assert not {"request", "user", "extra", "breadcrumbs", "modules"} & event.keys()


def test_what_a_library_logs_with_its_error_is_told_too(told: Any) -> None:
    try:
        crash("x")
    except RuntimeError:
        logging.getLogger("celery.worker").exception("it went wrong")
    assert told()["tags"]["logger"] == "celery.worker"


def test_lines_without_an_error_are_not_told(told: Any) -> None:
    structlog.get_logger("generation").error("provider_down", provider="kie")
    structlog.get_logger("generation").warning("late", exc_info=ValueError("no"))
    structlog.get_logger("generation").error("last", exc_info=KeyError("last"))

    assert told()["tags"]["event"] == "last"
    assert heard.empty()

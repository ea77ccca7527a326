"""Traces as a collector receives them: over a real socket, one trace from the request to the task that it woke."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from threading import Thread
from typing import Any

import pytest
from celery import current_app
from celery.app.trace import build_tracer
from django.db import connection, transaction
from django.db.backends.signals import connection_created
from django.test import Client
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from core import http, jobs, redis, tracing
from generation.engine import scripts
from tests.people import PASSWORD

pytestmark = pytest.mark.django_db

Spans = Callable[[], dict[str, Span]]


class Collector(BaseHTTPRequestHandler):
    received: Queue[tuple[str, Any, bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.put((self.path, self.headers, body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:  # a provider, too
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[ThreadingHTTPServer]:
    Collector.received = Queue()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def spans(collector: ThreadingHTTPServer, settings: Any) -> Iterator[Spans]:
    """Tracing is on; what was sent by now, by the spans' names, once all of it has arrived."""
    endpoint = f"http://127.0.0.1:{collector.server_port}"
    settings.TRACING = {"endpoint": endpoint, "headers": {"api-key": "k"}, "service": "shop", "ratio": 1}
    tracing.start()

    def sent() -> dict[str, Span]:
        assert tracing._provider.force_flush(60_000)
        found = {}
        while not Collector.received.empty():
            path, headers, body = Collector.received.get()
            assert (path, headers["Content-Type"], headers["api-key"]) == ("/v1/traces", "application/x-protobuf", "k")
            (resource,) = ExportTraceServiceRequest.FromString(body).resource_spans
            assert ("service.name", "shop") in {(a.key, a.value.string_value) for a in resource.resource.attributes}
            found |= {span.name: span for scope in resource.scope_spans for span in scope.spans}
        return found

    yield sent
    tracing._provider.shutdown()
    tracing._provider = tracing._tracer = None
    connection_created.disconnect(tracing._watch)
    connection.execute_wrappers.remove(tracing._statement)


def told(span: Span) -> dict[str, str | int]:
    return {a.key: a.value.string_value or a.value.int_value for a in span.attributes}


def test_a_request_and_the_task_that_it_wakes_are_one_trace(
    spans: Spans, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "on_commit", lambda call, robust: call())  # nothing commits here
    asked = {"email": "alice@example.com", "password": PASSWORD, "last_name": "Liddell"}
    response = client.post(
        "/api/v1/auth/register?from=alice@example.com", asked, content_type="application/json",
        headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-00", "tracestate": "shop=alice"},
    )  # fmt: skip
    assert response.status_code == 201, response.content
    message = json.loads(redis.client().lindex("atelier:mail", 0))
    task = current_app.tasks["notifications.deliver"]
    build_tracer(task.name, task, app=current_app)(message["headers"]["id"], [], {}, request=message["headers"])

    found = spans()
    request, sent, taken = (
        found["POST auth-register"],
        found["wake notifications.deliver"],
        found["notifications.deliver"],
    )
    assert {span.trace_id.hex() for span in found.values()} == {"a" * 32}
    assert request.parent_span_id.hex() == "b" * 16
    assert (sent.parent_span_id, taken.parent_span_id) == (request.span_id, sent.span_id)
    assert (request.kind, taken.kind) == (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CONSUMER)
    assert told(request) == {
        "http.request.method": "POST",
        "http.route": "auth-register",
        "http.response.status_code": 201,
        "atelier.request_id": response["X-Request-ID"],
    }
    assert told(found["INSERT"])["db.system.name"] == "postgresql"
    everything = "".join(str(span) for span in found.values())
    assert not [word for word in ("alice", "Alice", PASSWORD, "Liddell", "tracestate") if word in everything]


def test_a_call_to_a_provider_tells_whom_and_how_it_went(collector: ThreadingHTTPServer, spans: Spans) -> None:
    @jobs.task("tests.core.asks")
    def asks() -> None:
        def script() -> Any:
            yield lambda: http.call("GET", f"http://127.0.0.1:{collector.server_port}/for/alice?token=opensesame")

        scripts.run([script()])

    asks()

    found = spans()
    assert found["GET"].parent_span_id == found["tests.core.asks"].span_id  # though another thread asked
    assert told(found["GET"]) == {
        "http.request.method": "GET",
        "server.address": "127.0.0.1",
        "http.response.status_code": 503,
    }


def test_of_an_error_only_its_type_is_told(spans: Spans) -> None:
    @jobs.task("tests.core.breaks")
    def breaks() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT %s::int", ["alice@example.com"])

    with pytest.raises(Exception, match="alice"):
        breaks()

    found = spans()
    assert told(found["SELECT"])["db.query.text"] == "SELECT %s::int"
    assert told(found["tests.core.breaks"])["error.type"] == told(found["SELECT"])["error.type"] == "DataError"
    assert found["tests.core.breaks"].status.code == Status.STATUS_CODE_ERROR
    assert "alice" not in str(found)


def test_the_log_leads_to_the_trace(spans: Spans, client: Client) -> None:
    assert tracing.trace_id() == ""
    with tracing.span("x", "SERVER"):
        trace_id = tracing.trace_id()

    assert spans()["x"].trace_id.hex() == trace_id

"""Traces, for an OpenTelemetry collector where OTEL_EXPORTER_OTLP_ENDPOINT is set: what took how long, nobody's data.

A span is made at our own doors and nowhere else: a request, a task and its message, a statement, a call to a provider.
What it tells is named there, one by one. Without the setting nothing of it is imported here.
"""

from __future__ import annotations

import atexit
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any, Literal

from django.conf import settings
from django.db import connections
from django.db.backends.signals import connection_created

Kind = Literal["SERVER", "CLIENT", "PRODUCER", "CONSUMER"]

CARRIER = "traceparent"
_SQL_CHARS = 2_000
_EXIT_S = 2

_provider: Any = None
_tracer: Any = None


@dataclass(slots=True)
class Told:
    """What a span says of itself once it ends."""

    name: str
    attributes: dict[str, str | int] = field(default_factory=dict)
    has_failed: bool = False


def start() -> None:
    """Trace what this process does from now on, if that is asked for: web, a worker or beat.

    The SDK sends from a thread of its own, also in the children of a fork; a collector that is away costs nobody time.
    Idempotent.
    """
    global _provider, _tracer
    if _tracer is not None or not settings.TRACING["endpoint"]:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

    who = {
        "service.name": settings.TRACING["service"],
        "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
        "deployment.environment.name": settings.ENVIRONMENT,
    }
    # By the trace's id, so that web and workers choose the same ones, and nobody outside chooses for us by a flag.
    by = TraceIdRatioBased(settings.TRACING["ratio"])
    _provider = TracerProvider(resource=Resource.create(who), sampler=by, shutdown_on_exit=False)
    to = OTLPSpanExporter(endpoint=f"{settings.TRACING['endpoint']}/v1/traces", headers=settings.TRACING["headers"])
    _provider.add_span_processor(BatchSpanProcessor(to))
    _tracer = _provider.get_tracer("atelier")
    _send_the_rest_at_exit(_provider)
    connection_created.connect(_watch)
    for known in connections.all(initialized_only=True):
        _watch(known)


def _send_the_rest_at_exit(provider: Any) -> None:
    """The SDK itself would wait half a minute for a collector that is away. A thread cannot be begun at the exit."""
    leaving, left = Event(), Event()

    def leave() -> None:
        leaving.wait()
        provider.shutdown()
        left.set()

    Thread(target=leave, name="tracing", daemon=True).start()

    def wait() -> None:
        leaving.set()
        left.wait(_EXIT_S)

    atexit.register(wait)


@contextmanager
def span(
    name: str, kind: Kind, attributes: Mapping[str, str | int] | None = None, *, parent: str | None = None
) -> Iterator[Told]:
    """Tell how long the body takes, inside the span around it or the one that `parent` names (a `traceparent`).

    An exception is told by its type alone: its text may hold anything.
    """
    told = Told(name)
    if _tracer is None:
        yield told
        return
    from opentelemetry import trace

    with _tracer.start_as_current_span(
        name,
        context=_read(parent),
        kind=trace.SpanKind[kind],
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as made:
        try:
            yield told
        except BaseException as error:
            told.has_failed = True
            told.attributes["error.type"] = type(error).__qualname__
            raise
        finally:
            made.update_name(told.name)
            made.set_attributes(told.attributes)
            if told.has_failed:
                made.set_status(trace.StatusCode.ERROR)


def carried() -> dict[str, str]:
    """The running span, for the headers of a message; nothing without one."""
    if _tracer is None:
        return {}
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return {CARRIER: carrier[CARRIER]} if CARRIER in carrier else {}


def trace_id() -> str:
    """The trace that the running span belongs to, in hex; empty without one."""
    return carried().get(CARRIER, "")[3:35]


def _read(parent: str | None) -> Any:
    if not parent:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({CARRIER: parent})


def _watch(connection: Any, **_: Any) -> None:
    if _statement not in connection.execute_wrappers:
        connection.execute_wrappers.insert(0, _statement)


def _statement(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
    """A statement inside a span, with its placeholders and without its values."""
    from opentelemetry import trace

    if not trace.get_current_span().is_recording():
        return execute(sql, params, many, context)
    text = sql if isinstance(sql, str) else "?"
    verb, *_ = text.split(None, 1) or ["?"]
    about = {"db.system.name": "postgresql", "db.operation.name": verb, "db.query.text": text[:_SQL_CHARS]}
    with span(verb, "CLIENT", about):
        return execute(sql, params, many, context)

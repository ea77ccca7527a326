"""Prometheus: what this process counts, and what the database knows at the moment of the scrape.

Business figures come from tables through settings.METRICS_SOURCES, so every process answers alike and a restart
loses nothing; only request timings live in the process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import structlog
from django.conf import settings
from django.db import connection
from django.utils.module_loading import import_string
from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

log = structlog.get_logger("metrics")

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
REQUEST_SECONDS = Histogram(
    "http_request_seconds",
    "Time to answer a request",
    ["operation", "method", "status"],
    registry=REGISTRY,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)


def counted(name: str, documentation: str, labels: list[str], sql: str) -> Iterator[Metric]:
    """A family read by one query whose columns are the labels, then the value."""
    family = GaugeMetricFamily(name, documentation, labels=labels)
    with connection.cursor() as cursor:
        cursor.execute(sql)
        for *values, count in cursor.fetchall():
            family.add_metric([str(value) for value in values], float(count))
    yield family


class _FromTables(Collector):
    def collect(self) -> Iterable[Metric]:
        for path in settings.METRICS_SOURCES:
            try:
                yield from import_string(path)()
            except Exception:
                # One source that fails must not hide the others.
                log.exception("metrics_source_failed", source=path)


class _FromRedis(Collector):
    """How late beat and the queues are; silent while Redis is away, which /health tells."""

    def collect(self) -> Iterable[Metric]:
        from core import jobs, redis

        try:
            lags = jobs.lags()
        except redis.Error:
            return
        beat = GaugeMetricFamily("beat_age_seconds", "How long ago beat last looked")
        queues = GaugeMetricFamily("queue_lag_seconds", "How late the latest task of a queue is", labels=["queue"])
        for name, found in lags.items():
            if found["seconds"] is not None and name == "beat":
                beat.add_metric([], found["seconds"])
            elif found["seconds"] is not None:
                queues.add_metric([name.removeprefix("queue ")], found["seconds"])
        yield beat
        yield queues


REGISTRY.register(_FromTables())
REGISTRY.register(_FromRedis())


def scrape() -> bytes:
    """The whole page in Prometheus' text format."""
    return generate_latest(REGISTRY)

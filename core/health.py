"""/health, /health/live, /health/ready, /metrics: what an operator or a balancer asks."""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Callable
from typing import Any

import structlog
from celery import current_app
from django.conf import settings
from django.core.mail import get_connection
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.module_loading import import_string

from core import context, jobs, metrics, storage
from core import redis as core_redis
from core.middleware import within

log = structlog.get_logger("health")


def _database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _redis() -> None:
    core_redis.client().ping()


def _broker() -> None:
    with current_app.connection_for_write() as broker:
        broker.ensure_connection(max_retries=1, timeout=1)


def _storage() -> None:
    storage.check()


def _mail() -> None:
    mail = get_connection(fail_silently=False)
    if mail.open():
        mail.close()


PARTS: dict[str, Callable[[], None]] = {
    "database": _database,
    "redis": _redis,
    "storage": _storage,
    "mail": _mail,
}
if settings.BROKER_URL:
    PARTS["broker"] = _broker  # else it is Redis
VITAL = {"database", "redis"}
# The others are other people's machines, may take ten seconds to say nothing, and anybody may ask for /health.
SEEN_FOR_S = 10.0

_seen: dict[str, tuple[float, dict[str, Any]]] = {}
_looking = {name: threading.Lock() for name in PARTS}


def _check(name: str) -> dict[str, Any]:
    started = time.perf_counter()
    try:
        PARTS[name]()
    except Exception as error:
        log.warning("health_part_down", part=name, error=repr(error))
        return {
            "status": "down",
            "ms": round((time.perf_counter() - started) * 1000, 1),
            "error": str(error) if isinstance(error, storage.StorageUnusable) else type(error).__name__,
        }
    return {"status": "ok", "ms": round((time.perf_counter() - started) * 1000, 1)}


def _lately(name: str) -> dict[str, Any]:
    """What was found in the last SEEN_FOR_S; one thread at a time looks afresh, the others take what is known."""
    last = _seen.get(name)
    if last and time.monotonic() - last[0] < SEEN_FOR_S:
        return last[1]
    if not _looking[name].acquire(blocking=last is None):
        return last[1] if last else {}
    try:
        newest = _seen.get(name)
        if newest is last:
            newest = _seen[name] = (time.monotonic(), _check(name))
        return newest[1] if newest else {}
    finally:
        _looking[name].release()


def _may_see_details(request: HttpRequest) -> bool:
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if settings.METRICS_TOKEN and hmac.compare_digest(given.encode(), settings.METRICS_TOKEN.encode()):
        return True
    return within(context.current().ip or "", settings.METRICS_ALLOW)


def report() -> dict[str, Any]:
    """Every part with its latency, beat's age and each queue's lag.

    `down` only without the database or Redis, `degraded` without another part, or with a queue or beat that is late.
    """
    parts = {name: _check(name) if name in VITAL else _lately(name) for name in PARTS}
    down = {name for name, part in parts.items() if part["status"] == "down"}
    if "redis" not in down:
        parts |= jobs.lags()
    late = {name for name, part in parts.items() if part["status"] == "late"}
    status = "down" if down & VITAL else "degraded" if down or late else "ok"
    if "database" not in down:
        for path in settings.HEALTH_SOURCES:
            parts |= import_string(path)()
    return {"status": status, "version": settings.VERSION, "parts": parts}


def told(request: HttpRequest) -> dict[str, Any]:
    """As much of the report as whoever asks may see."""
    answer = report()
    return answer if _may_see_details(request) else {"status": answer["status"]}


def health(request: HttpRequest) -> HttpResponse:
    """200 ok or degraded; 503 only without the database or Redis."""
    answer = told(request)
    code = 503 if answer["status"] == "down" else 200
    return JsonResponse(answer, status=code, headers={"Cache-Control": "no-store"})


def live(request: HttpRequest) -> HttpResponse:
    """The process answers."""
    return JsonResponse({"status": "ok"})


def ready(request: HttpRequest) -> HttpResponse:
    """This process may be sent traffic: the database and Redis answer."""
    parts = {name: _check(name)["status"] for name in VITAL}
    good = all(status == "ok" for status in parts.values())
    return JsonResponse({"status": "ok" if good else "down"}, status=200 if good else 503)


def metrics_page(request: HttpRequest) -> HttpResponse:
    """Prometheus' text format, for METRICS_ALLOW or the token; for anybody else there is nothing here."""
    if not _may_see_details(request):
        return HttpResponse(status=404)
    return HttpResponse(metrics.scrape(), content_type="text/plain; version=0.0.4; charset=utf-8")

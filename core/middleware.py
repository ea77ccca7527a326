"""The door of every request: its id, its client's address, its log line and its metric."""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import structlog
from django.conf import settings
from django.contrib.auth import middleware as auth
from django.contrib.messages import middleware as messages
from django.contrib.sessions import middleware as sessions
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware import common, csrf
from django.utils import timezone

from core import context, metrics, tracing
from core.ids import new_id

log = structlog.get_logger("request")

_REQUEST_ID = re.compile(r"^[A-Za-z0-9._:-]{8,64}$")
API = "/api/"
SECRET_PARTS = {"signed", "token"}
# Balancers, orchestrators and Prometheus ask each process by its address, which is no host of ours.
PROBES = {"/health", "/health/live", "/health/ready", "/metrics"}
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


@lru_cache(maxsize=8)
def _networks(cidrs: tuple[str, ...]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(cidr, strict=False) for cidr in cidrs)


@lru_cache(maxsize=4096)
def _lies_in(address: str, cidrs: tuple[str, ...]) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(ip in network for network in _networks(cidrs))


def within(address: str, cidrs: list[str]) -> bool:
    """Whether the address lies in one of the networks."""
    return _lies_in(address, tuple(cidrs))


def client_ip(request: HttpRequest) -> str:
    """The client's address: the peer's, or behind TRUSTED_PROXIES the first untrusted one from the right.

    A header sent by anybody but a trusted proxy changes nothing. Behind a unix socket the peer is the proxy.
    """
    peer: str = request.META.get("REMOTE_ADDR") or ""
    if not settings.TRUSTED_PROXIES or (peer and not within(peer, settings.TRUSTED_PROXIES)):
        return peer
    hops = [hop.strip() for hop in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",") if hop.strip()]
    for hop in reversed(hops):
        if not within(hop, settings.TRUSTED_PROXIES):
            try:
                return str(ipaddress.ip_address(hop))
            except ValueError:
                return peer
    return peer


class RequestMiddleware:
    """Gives the request its id and context, answers with X-Request-ID, writes one log line and one metric."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        request_id = given if _REQUEST_ID.match(given) else new_id().hex
        source = (
            "ADMIN"
            if request.path.startswith("/admin/")
            else "WEBHOOK"
            if request.path.startswith("/api/v1/webhooks/")
            else "API"
        )
        with (
            context.use(
                request_id=request_id,
                ip=client_ip(request) or None,
                user_agent=request.META.get("HTTP_USER_AGENT", "")[:400],
                source=source,
                actor_id=None,
                on_behalf_of_id=None,
            ),
            tracing.span("request", "SERVER", parent=request.META.get("HTTP_TRACEPARENT")) as told,
        ):
            response = self.get_response(request)
            took_s = time.perf_counter() - started
            match = request.resolver_match
            operation = (match.view_name or match.route) if match else "unmatched"
            # Every new label is memory for good, and a method is anything that a client makes up.
            method = request.method if request.method in METHODS else "other"
            metrics.REQUEST_SECONDS.labels(operation, method, str(response.status_code)).observe(took_s)
            told.name, told.has_failed = f"{method} {operation}", response.status_code >= 500
            told.attributes |= {
                "http.request.method": method,
                "http.route": operation,
                "http.response.status_code": response.status_code,
                "atelier.request_id": request_id,
            }
            log.info(
                "request",
                method=request.method,
                path=_loggable(request),
                status=response.status_code,
                ms=round(took_s * 1000, 1),
            )
        response["X-Request-ID"] = request_id
        if limit := getattr(request, "rate_limit", None):
            response["RateLimit"] = f'"{limit.scope}";r={limit.remaining};t={limit.reset_s}'
            response["RateLimit-Policy"] = f'"{limit.scope}";q={limit.limit};w={limit.period_s}'
        return response


def _loggable(request: HttpRequest) -> str:
    """The path, or its pattern where the path itself opens something: links to files, to verify, to unsubscribe."""
    match = request.resolver_match
    if match and SECRET_PARTS & set(match.kwargs):
        return f"/{match.route}"
    return request.path


class ZoneMiddleware:
    """The console shows times where its reader is, which the browser says in a cookie; everybody else gets UTC."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path.startswith("/admin/"):
            return self.get_response(request)
        with timezone.override(_zone(request.COOKIES.get("zone", ""))):
            return self.get_response(request)


@lru_cache(maxsize=512)
def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ValueError, KeyError, OSError):  # none, an unknown one, or a path
        return None


class _OffTheApi:
    """The API has no sessions, cookies or CSRF: these five run for pages only."""

    def __call__(self, request: HttpRequest) -> Any:
        if request.path.startswith(API):
            return self.get_response(request)  # type: ignore[attr-defined]
        return super().__call__(request)  # type: ignore[misc]


class SessionMiddleware(_OffTheApi, sessions.SessionMiddleware):
    pass


class CommonMiddleware(_OffTheApi, common.CommonMiddleware):
    def __call__(self, request: HttpRequest) -> Any:
        if request.path in PROBES:
            return self.get_response(request)
        request.get_host()  # refuses a host that is none of ours, here as on every page
        return super().__call__(request)


class CsrfViewMiddleware(_OffTheApi, csrf.CsrfViewMiddleware):
    pass


class AuthenticationMiddleware(_OffTheApi, auth.AuthenticationMiddleware):
    def process_view(self, request: HttpRequest, *_: Any) -> None:
        """Whoever is signed in to the console is the actor of what follows."""
        if not request.path.startswith(API) and request.user.is_authenticated:
            context.set_actor(request.user.pk)


class MessageMiddleware(_OffTheApi, messages.MessageMiddleware):
    pass

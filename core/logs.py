"""Structured logs: JSON in production, readable lines elsewhere, the request's context on each, no secrets.

Loggers by what they tell: `request` (each one, with its duration), `security` (sign-ins, refusals, limits), `business`
(each fact of the audit log, in figures), `error` (what nobody foresaw, with its stack); the others by their place.
"""

from __future__ import annotations

import fcntl
import json
import logging
import logging.config
import logging.handlers
import os
import re
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any

import orjson
import structlog

from core import context, tracing
from core.crashes import ToSentry

_SECRET = re.compile(r"(password|secret|token|authorization|api_?key|cookie|signature|refresh|access$)", re.I)
# What may stand inside a text, an exception's above all: tokens, links that open something, passwords in addresses,
# the row that PostgreSQL quotes when it breaks a constraint.
# Each begins with, or stands behind, words that few lines have: the others are not searched, which is most of the time.
_LEAKS = {
    "eyJ": r"eyJ[\w-]{8,}\.[\w-]+\.[\w-]+",
    "Bearer ": r"(?<=Bearer )[\w.~+/=-]+",
    "://": r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)",
    "/files/": r"(?<=/files/)[^\s/\"'?]+",
    "/verify-email/": r"(?<=/verify-email/)[^\s/\"'?]+",
    "/reset-password/": r"(?<=/reset-password/)[^\s/\"'?]+",
    "/pay/": r"(?<=/pay/)[^\s/\"'?]+",
    "Failing row contains ": r"(?<=Failing row contains )\(.*?\)(?=\.)",
}
_LEAK = re.compile("|".join(_LEAKS.values()), re.S)


def _add_context(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    now = context.current()
    if now.request_id:
        event.setdefault("request_id", now.request_id)
    if trace_id := tracing.trace_id():
        event.setdefault("trace_id", trace_id)
    if now.actor_id:
        event.setdefault("actor", str(now.actor_id))
    if now.ip and event.get("logger") == "security":
        event.setdefault("ip", now.ip)
    return event


def _redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key in event:
        if _SECRET.search(key):
            event[key] = "[redacted]"
    return event


def _json(event: Any, default: Any) -> str:
    try:
        return orjson.dumps(event, default=default).decode()
    except TypeError:  # it refuses a lone surrogate and a number past 64 bits; a line must never break a request
        return json.dumps(event, default=default)


def scrub(text: str) -> str:
    """The text without what would open something."""
    return _LEAK.sub("[redacted]", text) if any(words in text for words in _LEAKS) else text


def _scrub(_: Any, __: str, line: str) -> str:
    return scrub(line)


def _is_ours_or_notable(record: logging.LogRecord) -> bool:
    """Below INFO libraries write down whole requests, signatures and SQL with its values: none of that is kept."""
    return isinstance(record.msg, dict) or record.levelno >= logging.INFO


class RotatedFile(logging.handlers.WatchedFileHandler):
    """A file that web, workers and beat write together and that any of them turns over when it is full.

    Lines are appended whole. Whoever finds the file full takes the lock, looks again and moves it to `.1`; the others
    see that it has moved and open the new one. Nothing is lost and nothing is written twice.
    """

    def __init__(self, filename: str, *, max_bytes: int, count: int) -> None:
        os.makedirs(os.path.dirname(os.path.abspath(filename)), exist_ok=True)
        super().__init__(filename, encoding="utf-8")
        self.max_bytes = max_bytes
        self.count = count

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, turning the file over first when it is full."""
        try:
            if self.stream and os.fstat(self.stream.fileno()).st_size >= self.max_bytes:
                self._turn_over()
        except OSError:
            self.handleError(record)
        super().emit(record)

    def _turn_over(self) -> None:
        with open(f"{self.baseFilename}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.stat(self.baseFilename).st_size < self.max_bytes:
                return  # another process was quicker
            names = [self.baseFilename, *(f"{self.baseFilename}.{number}" for number in range(1, self.count))]
            for older, newer in zip(reversed(names[1:]), reversed(names[:-1]), strict=True):
                with suppress(FileNotFoundError):
                    os.replace(newer, older)
            if self.count == 1:
                os.truncate(self.baseFilename, 0)


def configure(settings: dict[str, Any]) -> None:
    """Set up structlog and the standard library's logging as one stream to the console, and to a file if asked; errors
    that nobody foresaw go to Sentry too, if asked.

    Called by Django as LOGGING_CONFIG with {"level": str, "json": bool, "file": str, "max_bytes": int, "count": int,
    "sentry_dsn": str, "environment": str}.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_context,
        _redact,
    ]
    # Never the pretty tracebacks: they print local variables, and some of those are secrets.
    last: list[Any] = [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(_json) if settings["json"] else structlog.dev.ConsoleRenderer(colors=False),
        _scrub,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    # What no line tells and every line would look up [a fifth of its time].
    logging._srcfile = None  # as the library's manual has it
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    kept = {"formatter": "line", "filters": ["ours"]}
    handlers: dict[str, Any] = {"console": {"class": "logging.StreamHandler"} | kept}
    if settings["file"]:
        how = {"filename": settings["file"], "max_bytes": settings["max_bytes"], "count": settings["count"]}
        handlers["file"] = {"()": RotatedFile} | how | kept
    if settings.get("sentry_dsn"):
        whose = {"dsn": settings["sentry_dsn"], "environment": settings["environment"]}
        handlers["sentry"] = {"()": ToSentry, "scrub": scrub} | whose
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "line": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": shared,
                    "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
                }
            },
            "filters": {"ours": {"()": lambda: _is_ours_or_notable}},
            "handlers": handlers,
            "root": {"handlers": list(handlers), "level": settings["level"]},
            "loggers": {
                # Each request has its own line from core.middleware.
                "django.server": {"level": "WARNING"},
                "django.request": {"level": "CRITICAL"},
                "django.security.DisallowedHost": {"level": "CRITICAL"},
                "urllib3": {"level": "WARNING"},
                "opentelemetry": {"level": "ERROR"},  # one line for a batch that is lost, none for each try
                "stripe": {"level": "WARNING"},
                "celery.app.trace": {"level": "WARNING"},
                "celery.beat": {"level": "WARNING"},
            },
        }
    )

"""Errors that nobody foresaw, told to Sentry where SENTRY_DSN is set: the stack and the request's id, nobody's data."""

from __future__ import annotations

import logging
import sys
from typing import Any

from core import context


class ToSentry(logging.Handler):
    """Sends each ERROR line that has an exception. The rest of the line stays in the log; the request's id leads there.

    The SDK gets nothing else to see: no integrations, no breadcrumbs, no local variables, no request. It sends from a
    thread of its own, so a Sentry that is away costs nobody any time.
    """

    def __init__(self, *, dsn: str, environment: str, scrub: Any) -> None:
        import sentry_sdk
        from sentry_sdk.integrations.atexit import AtexitIntegration

        super().__init__(logging.ERROR)
        self._scrub = scrub
        sentry_sdk.init(
            dsn=dsn,
            environment=environment,
            default_integrations=False,
            auto_enabling_integrations=False,
            integrations=[AtexitIntegration(callback=lambda pending, timeout: None)],
            include_local_variables=False,
            max_breadcrumbs=0,
            max_request_body_size="never",
            before_send=self._clean,
        )

    def emit(self, record: logging.LogRecord) -> None:
        import sentry_sdk

        line = record.msg if isinstance(record.msg, dict) else {}
        error = _exception(line.get("exc_info") or record.exc_info)
        if error is None or record.name.startswith("sentry_sdk"):
            return
        with sentry_sdk.new_scope() as scope:
            scope.set_tag("logger", str(line.get("logger") or record.name))
            scope.set_tag("event", str(line["event"]) if "event" in line else record.name)
            if request_id := context.current().request_id:
                scope.set_tag("request_id", request_id)
            scope.capture_exception(error)

    def _clean(self, event: Any, hint: Any) -> Any:
        for told in (event.get("exception") or {}).get("values", []):
            told["value"] = self._scrub(str(told.get("value") or ""))[:1_000]
        for name in ("breadcrumbs", "extra", "modules", "user"):
            event.pop(name, None)
        return event


def _exception(told: Any) -> BaseException | None:
    """What `exc_info` stands for: an exception, its triple, or True for the one being handled."""
    if isinstance(told, BaseException):
        return told
    if isinstance(told, tuple):
        told = told[1]
        return told if isinstance(told, BaseException) else None
    return sys.exc_info()[1] if told else None

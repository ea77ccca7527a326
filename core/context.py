"""Who is acting and through which request: set once at the door, read by the audit log and the logger."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

Source = Literal["API", "WEBHOOK", "SYSTEM", "ADMIN"]


@dataclass(frozen=True, slots=True)
class Context:
    request_id: str = ""
    ip: str | None = None
    user_agent: str = ""
    source: Source = "SYSTEM"
    actor_id: uuid.UUID | None = None
    on_behalf_of_id: uuid.UUID | None = None
    clock: tuple[datetime, float] | None = None  # see core.clock


_current: ContextVar[Context] = ContextVar("atelier_context", default=Context())  # noqa: B039  frozen


def current() -> Context:
    """The context of the running request or task."""
    return _current.get()


def set_actor(actor_id: uuid.UUID) -> None:
    """Name the person behind the running request, once authentication knows."""
    _amend(actor_id=actor_id)


def set_clock(reading: tuple[datetime, float]) -> None:
    """Keep a reading of the database's clock for the running request."""
    _amend(clock=reading)


def _amend(**changes: Any) -> None:
    """Change the context of the running request; outside one nobody would take it back, so nothing is kept."""
    if _current.get().request_id:
        _current.set(replace(_current.get(), **changes))


@contextmanager
def use(**changes: Any) -> Iterator[Context]:
    """Run the body under a changed context; the former one comes back after."""
    token = _current.set(replace(_current.get(), **changes))
    try:
        yield _current.get()
    finally:
        _current.reset(token)

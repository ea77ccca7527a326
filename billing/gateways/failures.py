"""What a failed call to any gateway means for the money, before the gateway's own words are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from billing.gateways.base import Misconfigured, Unclear, Unreachable
from core import http


@contextmanager
def told_apart() -> Iterator[None]:
    """Tell a call that never left from one that was not answered.

    Raises: Unreachable, Unclear.
    """
    try:
        yield
    except http.NotSent as error:
        raise Unreachable(str(error)) from error
    except http.NoAnswer as error:
        raise Unclear(str(error)) from error


def by_status(what: str, status: int, headers: Mapping[str, str]) -> Misconfigured | Unreachable | None:
    """What an HTTP status means at every gateway: our keys are not taken, or come back later. None for the rest."""
    if status in (401, 403):
        return Misconfigured(what)
    if status == 429:
        return Unreachable(what, retry_after=http.retry_after_s(headers))
    return None

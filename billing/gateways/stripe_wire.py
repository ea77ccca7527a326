"""How Stripe is asked: its SDK over `core.http`, failures sorted by what they mean for the money, plain answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from itertools import islice
from typing import Any

import stripe
from django.conf import settings

from billing.gateways import failures
from billing.gateways.base import Misconfigured, Rejected, Repeated, Unclear
from core import http

# What the answers are read as; webhook endpoints must be created with it too, though bodies are never believed.
API_VERSION = "2026-10-28.endive"
TIMEOUT_S = 10
PAGE = 100
ANSWER_BYTES = 8 << 20  # a page of a hundred charges, each with a few kilobytes
AT_MOST = 2000

Client = stripe.StripeClient
stripe.enable_telemetry = False


class _Wire(stripe.HTTPClient):
    """The SDK's way out. Its own retries are off: whether to ask again is decided where the money is known."""

    name = "atelier"

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None, *, _usage: Any = None
    ) -> tuple[str, int, Mapping[str, str]]:
        answer = http.call(
            method.upper(),
            url,
            headers=headers,
            data=str(post_data).encode() if post_data else None,
            timeout_s=TIMEOUT_S,
            max_bytes=ANSWER_BYTES,
        )
        return answer.body.decode(errors="replace"), answer.status, answer.headers

    def close(self) -> None:
        """Connections are `core.http`'s."""


@cache
def _client(key: str, base_url: str) -> Client:
    return stripe.StripeClient(
        key,
        stripe_version=API_VERSION,
        base_addresses={"api": base_url},
        max_network_retries=0,
        http_client=_Wire(),
    )


def _guarded(act: Callable[[Client], Any]) -> Any:
    """Talk to Stripe; failures as what they mean for the money.

    Raises: Unreachable, Unclear, Rejected, Repeated, Misconfigured.
    """
    if not settings.STRIPE_SECRET_KEY:
        raise Misconfigured("no keys are set")
    with failures.told_apart():
        try:
            return act(_client(settings.STRIPE_SECRET_KEY, settings.STRIPE_BASE_URL))
        except stripe.StripeError as error:
            raise _meaning(error) from error


def ask(act: Callable[[Client], Any]) -> dict[str, Any]:
    """One call, its answer as plain values."""
    found = _guarded(act)
    if not isinstance(found, stripe.StripeObject):
        raise Unclear("not an object")
    return found.to_dict()


def _meaning(error: stripe.StripeError) -> Exception:
    status = error.http_status or 0
    what = f"{status} {error.user_message or ''}"[:500]
    if failure := failures.by_status(what, status, error.headers or {}):
        return failure
    code, message = str(error.code or "")[:64], str(error.user_message or what)[:500]
    if isinstance(error, stripe.IdempotencyError):
        return Repeated(message, status=status, code=code)
    if isinstance(error, stripe.InvalidRequestError | stripe.CardError):
        return Rejected(message, status=status, code=code, field=str(getattr(error, "param", None) or ""))
    # 409: a twin with our key is under way. 5xx, or no JSON of theirs: it may have acted.
    return Unclear(what)


def page(act: Callable[[Client, Any], Any], since: int, skip: int | str) -> tuple[list[dict[str, Any]], str | None]:
    """A part of a list of what was created since, and the id after which the next part begins."""
    asked: dict[str, Any] = {"created": {"gte": since}, "limit": PAGE}
    if skip:
        asked["starting_after"] = skip
    found = ask(lambda client: act(client, asked))
    items = items_of(found)
    return items, (text(items[-1], "id") if items and found.get("has_more") else None)


def every(act: Callable[[Client], Any]) -> list[dict[str, Any]]:
    """Every item of a list that is short by nature.

    Raises: Unclear when it is not.
    """
    items = _guarded(lambda client: list(islice(act(client).auto_paging_iter(), AT_MOST + 1)))
    if len(items) > AT_MOST:
        raise Unclear(f"more than {AT_MOST} in a list that should be short")
    return [item.to_dict() for item in items]


# --- Reading ----------------------------------------------------------------------------------------------------------


def id_of(ref: str) -> str:
    """An id of theirs as a path segment, so that what a webhook named can never lead elsewhere."""
    if not (0 < len(ref) <= 128 and ref.isascii() and ref.replace("_", "").isalnum()):
        raise Rejected(f"{ref[:64]!r} is no id of Stripe's", status=400, code="bad_id")
    return ref


def items_of(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    items = body.get("data")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise Unclear("a list without data")
    return items


def text(item: Mapping[str, Any], name: str) -> str:
    value = item.get(name)
    if not isinstance(value, str) or not value:
        raise Unclear(f"{name} is missing")
    return value


def whole(item: Mapping[str, Any], name: str, default: int | None = None) -> int:
    value = item.get(name, default)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise Unclear(f"{name} is no whole number")
    return value


def part(item: Mapping[str, Any], *names: str) -> Any:
    found: Any = item
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def note(item: Mapping[str, Any], name: str) -> str:
    return str(part(item, "metadata", name) or "")

"""Stripe: payment intents for the client's library, checkout sessions for its hosted page, charges, refunds, disputes.

Source: Stripe's API reference at API_VERSION, and its SDK, which builds the requests. They leave through `core.http`,
which knows whether a failed call can have reached Stripe. The attempts of a payment are Stripe's charges.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import cache
from itertools import islice
from typing import Any
from uuid import UUID

import stripe
from django.conf import settings

from billing.gateways.base import (
    AttemptFact,
    AttemptStatus,
    DisputeFact,
    DisputeStatus,
    Misconfigured,
    Opening,
    Page,
    RefundFact,
    RefundStatus,
    Rejected,
    Repeated,
    Snapshot,
    StartFact,
    Unclear,
    Unreachable,
)
from billing.models.payments import Flow
from core import http
from inbox.deliveries import Verdict

# What the answers below are read as; webhook endpoints must be created with it too, though bodies are never believed.
API_VERSION = "2026-10-28.endive"
TIMEOUT_S = 10
PAGE = 100
ANSWER_BYTES = 8 << 20  # a page of a hundred charges, each with a few kilobytes
WEBHOOK_AGE_S = 300
# Where a start is looked for whose answer we never read: from its reference's own time on.
SEARCH_BEFORE_S, SEARCH_AFTER_S, SEARCH_AT_MOST = 600, 7200, 2000

_DISPUTES = {
    "needs_response": DisputeStatus.OPEN,
    "under_review": DisputeStatus.OPEN,
    "warning_needs_response": DisputeStatus.OPEN,
    "warning_under_review": DisputeStatus.OPEN,
    "won": DisputeStatus.WON,
    "warning_closed": DisputeStatus.WON,  # the bank only asked
    "prevented": DisputeStatus.WON,
    "lost": DisputeStatus.LOST,
    "appeal_needs_response": DisputeStatus.LOST,  # until the appeal is won, the money is gone
    "appeal_under_review": DisputeStatus.LOST,
}
_REFUNDS = {
    "pending": RefundStatus.SENT,
    "requires_action": RefundStatus.SENT,
    "succeeded": RefundStatus.PROCESSED,
    "failed": RefundStatus.FAILED,
    "canceled": RefundStatus.FAILED,
}

stripe.enable_telemetry = False


class Stripe:
    name = "stripe"
    currencies: tuple[str, ...] = ("USD", "EUR", "GBP")
    default_currency = "USD"
    open_for = timedelta(minutes=60)
    is_remote = True

    def is_configured(self) -> bool:
        return bool(settings.STRIPE_SECRET_KEY and settings.STRIPE_PUBLISHABLE_KEY)

    def refunds(self) -> bool:
        return True

    # --- What we ask it to do -----------------------------------------------------------------------------------------

    def start(self, opening: Opening) -> StartFact:
        """Open a checkout session for the hosted flow, else a payment intent. One reference is one of them."""
        options: Any = {"idempotency_key": opening.reference}
        metadata = {"reference": opening.reference, **opening.notes}
        if opening.flow != Flow.HOSTED:
            intent: Any = {
                "amount": opening.amount,
                "currency": opening.currency.lower(),
                "automatic_payment_methods": {"enabled": True},
                "description": opening.title,
                "metadata": metadata,
            }
            return _intent_start(_ask(lambda client: client.v1.payment_intents.create(intent, options)))
        price = {
            "currency": opening.currency.lower(),
            "unit_amount": opening.amount,
            "product_data": {"name": opening.title},
        }
        session: Any = {
            "mode": "payment",
            "line_items": [{"price_data": price, "quantity": 1}],
            "success_url": opening.return_url,
            "cancel_url": opening.return_url,
            "client_reference_id": opening.reference,
            "customer_email": opening.email,
            "metadata": metadata,  # a session's is not copied to its intent
            "payment_intent_data": {"metadata": metadata, "description": opening.title},
        }
        return _session_start(_ask(lambda client: client.v1.checkout.sessions.create(session, options)))

    def close(self, ref: str) -> None:
        """Cancel the intent or expire the session."""
        try:
            if _is_session(ref):
                _ask(lambda client: client.v1.checkout.sessions.expire(_id(ref)))
            else:
                _ask(lambda client: client.v1.payment_intents.cancel(_id(ref), {"cancellation_reason": "abandoned"}))
        except Rejected:
            # What is closed already is refused the same way as what is paid.
            if self._read(ref)["status"] not in ("canceled", "expired"):
                raise

    def capture(self, attempt_ref: str, *, amount: int, currency: str) -> None:
        """Take an authorised charge. We ask for automatic capture, so only the dashboard's settings lead here."""
        intent = self.fetch_attempt(attempt_ref).start_ref
        try:
            _ask(lambda client: client.v1.payment_intents.capture(_id(intent), {"amount_to_capture": amount}))
        except Rejected:
            if self.fetch_attempt(attempt_ref).status is not AttemptStatus.CAPTURED:
                raise

    def refund(self, attempt_ref: str, *, amount: int, currency: str, refund_id: UUID, reason: str) -> RefundFact:
        asked: Any = {
            "charge": _id(attempt_ref),
            "amount": amount,
            "reason": "requested_by_customer",
            "metadata": {"refund": str(refund_id), "reason": reason[:500]},
        }
        options: Any = {"idempotency_key": str(refund_id)}
        return _refund(_ask(lambda client: client.v1.refunds.create(asked, options)))

    # --- What it says -------------------------------------------------------------------------------------------------

    def is_payable(self, start: StartFact, flow: str) -> bool:
        """A session is paid on its page, an intent with its secret."""
        return bool(start.url if flow == Flow.HOSTED else start.secret)

    def find_start(self, reference: str) -> StartFact | None:
        """Stripe has no look-up by reference that is up to date, so the lists around the reference's birth are read.

        A session first: its intent carries the reference as well.
        """
        window = _around(reference)
        sessions = _all(lambda client: client.v1.checkout.sessions.list(window))
        for item in sessions:
            if item.get("client_reference_id") == reference:
                return _session_start(item)
        for item in _all(lambda client: client.v1.payment_intents.list(window)):
            if _note(item, "reference") == reference:
                return _intent_start(item)
        return None

    def fetch(self, ref: str, *, dispute_refs: Sequence[str] = ()) -> Snapshot:
        found = self._read(ref)
        intent = found.get("payment_intent") if _is_session(ref) else found
        start = _session_start(found) if _is_session(ref) else _intent_start(found)
        if not isinstance(intent, dict):  # nobody has tried to pay on the session
            return Snapshot(start)
        charges = _all(lambda client: client.v1.charges.list({"payment_intent": intent["id"], "limit": PAGE}))
        attempts = [_charge(item, ref) for item in charges]
        attempts += _uncharged(intent, ref)
        refunds: list[RefundFact] = []
        if any(attempt.status is AttemptStatus.CAPTURED for attempt in attempts):
            raw = _all(lambda client: client.v1.refunds.list({"payment_intent": intent["id"], "limit": PAGE}))
            refunds = [_refund(item) for item in raw]
        disputes = [self.fetch_dispute(dispute_ref) for dispute_ref in dispute_refs]
        if any(item.get("disputed") for item in charges):
            raw = _all(lambda client: client.v1.disputes.list({"payment_intent": intent["id"], "limit": PAGE}))
            disputes += [_dispute(item) for item in raw if item.get("id") not in dispute_refs]
        return Snapshot(start, attempts, refunds, disputes)

    def _read(self, ref: str) -> dict[str, Any]:
        if _is_session(ref):
            expand: Any = {"expand": ["payment_intent"]}
            return _ask(lambda client: client.v1.checkout.sessions.retrieve(_id(ref), expand))
        return _ask(lambda client: client.v1.payment_intents.retrieve(_id(ref)))

    def fetch_start(self, ref: str) -> StartFact:
        """Also of an intent that a session made: it carries the same reference."""
        found = self._read(ref)
        return _session_start(found) if _is_session(ref) else _intent_start(found)

    def fetch_attempt(self, ref: str) -> AttemptFact:
        found = _ask(lambda client: client.v1.charges.retrieve(_id(ref)))
        return _charge(found, str(found.get("payment_intent") or ""))

    def fetch_refund(self, ref: str) -> RefundFact:
        return _refund(_ask(lambda client: client.v1.refunds.retrieve(_id(ref))))

    def fetch_dispute(self, ref: str) -> DisputeFact:
        return _dispute(_ask(lambda client: client.v1.disputes.retrieve(_id(ref))))

    def find_refund(self, attempt_ref: str, refund_id: UUID) -> RefundFact | None:
        raw = _all(lambda client: client.v1.refunds.list({"charge": _id(attempt_ref), "limit": PAGE}))
        return next((fact for fact in map(_refund, raw) if fact.refund_id == refund_id), None)

    def payments_since(self, since: int, *, skip: int | str = 0) -> Page[AttemptFact]:
        items, following = _page(lambda client, asked: client.v1.charges.list(asked), since, skip)
        return Page([_charge(item, str(item.get("payment_intent") or "")) for item in items], following)

    def refunds_since(self, since: int, *, skip: int | str = 0) -> Page[RefundFact]:
        items, following = _page(lambda client, asked: client.v1.refunds.list(asked), since, skip)
        # One without a charge gave back what was never taken, such as a customer's balance.
        return Page([_refund(item) for item in items if item.get("charge")], following)

    def disputes_since(self, since: int, *, skip: int | str = 0) -> Page[DisputeFact]:
        items, following = _page(lambda client, asked: client.v1.disputes.list(asked), since, skip)
        return Page([_dispute(item) for item in items], following)

    # --- What the client gets and brings back -------------------------------------------------------------------------

    def client(self, start: StartFact) -> dict[str, Any]:
        if not start.secret:
            return {}
        return {
            "payment_intent": start.ref,
            "client_secret": start.secret,
            "publishable_key": settings.STRIPE_PUBLISHABLE_KEY,
        }

    def checkout_url(self, start: StartFact, *, page_url: str, return_url: str) -> str:
        return start.url or page_url

    def check_client(self, claim: Mapping[str, str], *, refs: Sequence[str]) -> bool:
        """Stripe signs nothing that the client brings back; looking is all there is."""
        return False


def verify_webhook(headers: Mapping[str, str], body: bytes, *, now: int) -> Verdict:
    """Check the signature over time and raw bytes; one of several is enough while a secret is rolled.

    Source: `Stripe-Signature: t=<unix>,v1=<hex>[,v1=<hex>]`, HMAC-SHA256 by the endpoint's secret over `<t>.<body>`.
    """
    if not settings.STRIPE_WEBHOOK_SECRET:
        return Verdict.NOT_CONFIGURED
    header = next((value for name, value in headers.items() if name.lower() == "stripe-signature"), "")
    parts = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in parts if name == "t"]
    if len(times) != 1 or not (times[0].isascii() and times[0].isdecimal() and len(times[0]) < 12):
        return Verdict.INVALID
    expected = hmac.new(settings.STRIPE_WEBHOOK_SECRET.encode(), times[0].encode() + b"." + body, "sha256")
    given = [value.encode() for name, _, value in parts if name == "v1"]
    if not any([hmac.compare_digest(expected.hexdigest().encode(), value) for value in given]):
        return Verdict.INVALID
    return Verdict.STALE if abs(now - int(times[0])) > WEBHOOK_AGE_S else Verdict.VALID


# --- Asking -----------------------------------------------------------------------------------------------------------


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
def _client(key: str, base_url: str) -> stripe.StripeClient:
    return stripe.StripeClient(
        key,
        stripe_version=API_VERSION,
        base_addresses={"api": base_url},
        max_network_retries=0,
        http_client=_Wire(),
    )


def _guarded(act: Callable[[stripe.StripeClient], Any]) -> Any:
    """Talk to Stripe; failures as what they mean for the money.

    Raises: Unreachable, Unclear, Rejected, Repeated, Misconfigured.
    """
    if not settings.STRIPE_SECRET_KEY:
        raise Misconfigured("no keys are set")
    try:
        return act(_client(settings.STRIPE_SECRET_KEY, settings.STRIPE_BASE_URL))
    except http.NotSent as error:
        raise Unreachable(str(error)) from error
    except http.NoAnswer as error:
        raise Unclear(str(error)) from error
    except stripe.StripeError as error:
        raise _meaning(error) from error


def _ask(act: Callable[[stripe.StripeClient], Any]) -> dict[str, Any]:
    """One call, its answer as plain values."""
    found = _guarded(act)
    if not isinstance(found, stripe.StripeObject):
        raise Unclear("not an object")
    return found.to_dict()


def _meaning(error: stripe.StripeError) -> Exception:
    status = error.http_status or 0
    what = f"{status} {error.user_message or ''}"[:500]
    if status in (401, 403):
        return Misconfigured(what)
    if status == 429:
        wait = str((error.headers or {}).get("retry-after", ""))
        return Unreachable(what, retry_after=min(int(wait), 3600) if wait.isdecimal() and len(wait) < 9 else None)
    code, message = str(error.code or "")[:64], str(error.user_message or what)[:500]
    if isinstance(error, stripe.IdempotencyError):
        return Repeated(message, status=status, code=code)
    if isinstance(error, stripe.InvalidRequestError | stripe.CardError):
        return Rejected(message, status=status, code=code, field=str(getattr(error, "param", None) or ""))
    # 409: a twin with our key is under way. 5xx, or no JSON of theirs: it may have acted.
    return Unclear(what)


def _page(
    ask: Callable[[stripe.StripeClient, Any], Any], since: int, skip: int | str
) -> tuple[list[dict[str, Any]], str | None]:
    asked: dict[str, Any] = {"created": {"gte": since}, "limit": PAGE}
    if skip:
        asked["starting_after"] = skip
    found = _ask(lambda client: ask(client, asked))
    items = _items(found)
    return items, (_text(items[-1], "id") if items and found.get("has_more") else None)


def _all(ask: Callable[[stripe.StripeClient], Any]) -> list[dict[str, Any]]:
    """Every item of a list that is short by nature.

    Raises: Unclear when it is not.
    """
    items = _guarded(lambda client: list(islice(ask(client).auto_paging_iter(), SEARCH_AT_MOST + 1)))
    if len(items) > SEARCH_AT_MOST:
        raise Unclear(f"more than {SEARCH_AT_MOST} in a list that should be short")
    return [item.to_dict() for item in items]


def _around(reference: str) -> Any:
    """The time in which the start of a reference was opened: it begins with a UUID that tells its own time."""
    try:
        at = (UUID(reference.rpartition("-")[0]).int >> 80) // 1000
    except ValueError:
        raise Rejected(f"{reference[:64]!r} is no reference of ours", status=400, code="bad_reference") from None
    return {"created": {"gte": max(0, at - SEARCH_BEFORE_S), "lte": at + SEARCH_AFTER_S}, "limit": PAGE}


# --- Reading ----------------------------------------------------------------------------------------------------------


def _is_session(ref: str) -> bool:
    return ref.startswith("cs_")


def _id(ref: str) -> str:
    """An id of theirs as a path segment, so that what a webhook named can never lead elsewhere."""
    if not (0 < len(ref) <= 128 and ref.isascii() and ref.replace("_", "").isalnum()):
        raise Rejected(f"{ref[:64]!r} is no id of Stripe's", status=400, code="bad_id")
    return ref


def _items(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    items = body.get("data")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise Unclear("a list without data")
    return items


def _text(item: Mapping[str, Any], name: str) -> str:
    value = item.get(name)
    if not isinstance(value, str) or not value:
        raise Unclear(f"{name} is missing")
    return value


def _whole(item: Mapping[str, Any], name: str, default: int | None = None) -> int:
    value = item.get(name, default)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise Unclear(f"{name} is no whole number")
    return value


def _part(item: Mapping[str, Any], *names: str) -> Any:
    found: Any = item
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _note(item: Mapping[str, Any], name: str) -> str:
    return str(_part(item, "metadata", name) or "")


def _intent_start(item: Mapping[str, Any]) -> StartFact:
    return StartFact(
        ref=_text(item, "id"),
        reference=_note(item, "reference"),
        amount=_whole(item, "amount"),
        currency=_text(item, "currency").upper(),
        secret=str(item.get("client_secret") or "")[:255],
    )


def _session_start(item: Mapping[str, Any]) -> StartFact:
    return StartFact(
        ref=_text(item, "id"),
        reference=str(item.get("client_reference_id") or ""),
        amount=_whole(item, "amount_total"),
        currency=_text(item, "currency").upper(),
        url=str(item.get("url") or ""),
    )


def _charge(item: Mapping[str, Any], start_ref: str) -> AttemptFact:
    told = _text(item, "status")
    is_captured = item.get("captured") is True
    match told:
        case "succeeded" if is_captured:
            status = AttemptStatus.CAPTURED
        case "succeeded":
            status = AttemptStatus.LAPSED if item.get("refunded") is True else AttemptStatus.AUTHORIZED
        case "pending":
            status = AttemptStatus.CREATED
        case "failed":
            status = AttemptStatus.FAILED
        case _:
            raise Unclear(f"charge status {told!r}")
    return AttemptFact(
        ref=_text(item, "id"),
        start_ref=start_ref,
        status=status,
        amount=_whole(item, "amount_captured" if is_captured else "amount"),
        currency=_text(item, "currency").upper(),
        refunded=_whole(item, "amount_refunded", 0) if is_captured else 0,
        method=str(_part(item, "payment_method_details", "type") or "")[:32],
        error_code=str(_part(item, "outcome", "reason") or item.get("failure_code") or "")[:64]
        if told == "failed"
        else "",
        error_message=str(item.get("failure_message") or "")[:500],
        at=_whole(item, "created", 0),
    )


def _uncharged(intent: Mapping[str, Any], start_ref: str) -> list[AttemptFact]:
    """A try that never became a charge, such as a failed 3-D Secure; known by the payment method that was entered."""
    error = intent.get("last_payment_error")
    method = _part(intent, "last_payment_error", "payment_method", "id")
    if not isinstance(error, dict) or error.get("charge") or not isinstance(method, str):
        return []
    failed = AttemptFact(
        ref=method[:64],
        start_ref=start_ref,
        status=AttemptStatus.FAILED,
        amount=_whole(intent, "amount"),
        currency=_text(intent, "currency").upper(),
        method=str(_part(error, "payment_method", "type") or "")[:32],
        error_code=str(error.get("decline_code") or error.get("code") or "")[:64],
        error_message=str(error.get("message") or "")[:500],
        at=_whole(error["payment_method"], "created", 0),
    )
    return [failed]


def _refund(item: Mapping[str, Any]) -> RefundFact:
    status = _REFUNDS.get(_text(item, "status"))
    if status is None:
        raise Unclear(f"refund status {item['status']!r}")
    return RefundFact(
        ref=_text(item, "id"),
        attempt_ref=_text(item, "charge"),
        status=status,
        amount=_whole(item, "amount"),
        currency=_text(item, "currency").upper(),
        refund_id=_uuid(_note(item, "refund")),
        at=_whole(item, "created", 0),
    )


def _dispute(item: Mapping[str, Any]) -> DisputeFact:
    told = _text(item, "status")
    status = _DISPUTES.get(told)
    if status is None:
        raise Unclear(f"dispute status {told!r}")
    amount = _whole(item, "amount")
    return DisputeFact(
        ref=_text(item, "id"),
        attempt_ref=_text(item, "charge"),
        status=status,
        amount=amount,
        currency=_text(item, "currency").upper(),
        lost=amount if status is DisputeStatus.LOST else 0,
        phase="inquiry" if told.startswith("warning_") else "appeal" if told.startswith("appeal_") else "chargeback",
        reason_code=str(item.get("reason") or "")[:64],
        respond_by=_whole(item["evidence_details"], "due_by", 0) if item.get("evidence_details") else 0,
        at=_whole(item, "created", 0),
    )


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None

"""Razorpay: orders, payments, refunds and disputes of its REST API, its two signatures.

Source: Razorpay's API reference. Our own HTTP and not the vendor's SDK: the SDK drops the HTTP status, so a 429 or
401 looks like the customer's mistake, turns a proxy's HTML page into a JSON error, prints to stdout, and cannot tell
"never received" from "no answer", which decides what we tell the customer about their money.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit
from uuid import UUID

import orjson
from django.conf import settings

from billing.gateways import failures
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
    Snapshot,
    StartFact,
    Unclear,
)
from core import http
from inbox.deliveries import Verdict

TIMEOUT_S = 10
PAGE = 100
# Razorpay retries for a day and its dashboard replays a week; what is older is only a hint, like everything it sends.
WEBHOOK_AGE_S = 7 * 86_400 + 3600
CAPTURE_MINUTES = 7200  # the longest that Razorpay will still take an authorised payment by itself

_ATTEMPTS = {
    "created": AttemptStatus.CREATED,
    "authorized": AttemptStatus.AUTHORIZED,
    "captured": AttemptStatus.CAPTURED,
    "refunded": AttemptStatus.CAPTURED,
    "failed": AttemptStatus.FAILED,
}
_REFUNDS = {"pending": RefundStatus.SENT, "processed": RefundStatus.PROCESSED, "failed": RefundStatus.FAILED}
_DISPUTES = {
    "open": DisputeStatus.OPEN,
    "under_review": DisputeStatus.OPEN,
    "won": DisputeStatus.WON,
    "lost": DisputeStatus.LOST,
}


class Razorpay:
    name = "razorpay"
    currencies: tuple[str, ...] = ("INR",)
    default_currency = "INR"
    open_for = timedelta(minutes=60)
    is_remote = True

    def is_configured(self) -> bool:
        return bool(settings.RAZORPAY_KEY_ID and settings.RAZORPAY_KEY_SECRET)

    def refunds(self) -> bool:
        return True

    # --- What we ask it to do -----------------------------------------------------------------------------------------

    def start(self, opening: Opening) -> StartFact:
        """Open an order. `unique_receipt` makes Razorpay answer the same order for the same reference."""
        return _order(
            _call(
                "POST",
                "/v1/orders",
                json={
                    "amount": opening.amount,
                    "currency": opening.currency,
                    "receipt": opening.reference,
                    "unique_receipt": True,
                    "payment": {
                        "capture": "automatic",
                        "capture_options": {
                            "automatic_expiry_period": CAPTURE_MINUTES,
                            "manual_expiry_period": CAPTURE_MINUTES,
                            "refund_speed": "normal",
                        },
                    },
                    "notes": dict(opening.notes),
                },
            )
        )

    def close(self, ref: str) -> None:
        """An order cannot be closed; money that comes later is still settled."""

    def capture(self, attempt_ref: str, *, amount: int, currency: str) -> None:
        """Take an authorised payment; the amount must be the authorised one."""
        try:
            _call(
                "POST",
                f"/v1/payments/{_id(attempt_ref)}/capture",
                json={"amount": amount, "currency": currency},
            )
        except Rejected:
            # Automatic capture, or a twin of ours, may have been faster; the next look tells.
            if self.fetch_attempt(attempt_ref).status is not AttemptStatus.CAPTURED:
                raise

    def refund(self, attempt_ref: str, *, amount: int, currency: str, refund_id: UUID, reason: str) -> RefundFact:
        return _refund(
            _call(
                "POST",
                f"/v1/payments/{_id(attempt_ref)}/refund",
                headers={"X-Refund-Idempotency": str(refund_id)},
                json={
                    "amount": amount,
                    "speed": "normal",
                    "receipt": str(refund_id),
                    "notes": {"refund": str(refund_id), "reason": reason[:250]},
                },
            )
        )

    # --- What it says -------------------------------------------------------------------------------------------------

    def is_payable(self, start: StartFact, flow: str) -> bool:
        """Always: its id and our key are all that the script needs."""
        return True

    def find_start(self, reference: str) -> StartFact | None:
        for item in _items(_call("GET", "/v1/orders", params={"receipt": reference, "count": PAGE})):
            found = _order(item)
            if found.reference == reference:
                return found
        return None

    def fetch(self, ref: str, *, dispute_refs: Sequence[str] = ()) -> Snapshot:
        start = self.fetch_start(ref)
        raw = _items(_call("GET", f"/v1/orders/{_id(ref)}/payments"))
        attempts = [_attempt(item) for item in raw]
        refunds = [
            refund
            for attempt, item in zip(attempts, raw, strict=True)
            if attempt.refunded or item.get("refund_status")
            for refund in self.list_refunds(attempt.ref)
        ]
        return Snapshot(start, attempts, refunds, [self.fetch_dispute(found) for found in dispute_refs])

    def fetch_start(self, ref: str) -> StartFact:
        return _order(_call("GET", f"/v1/orders/{_id(ref)}"))

    def fetch_attempt(self, ref: str) -> AttemptFact:
        return _attempt(_call("GET", f"/v1/payments/{_id(ref)}"))

    def fetch_refund(self, ref: str) -> RefundFact:
        return _refund(_call("GET", f"/v1/refunds/{_id(ref)}"))

    def fetch_dispute(self, ref: str) -> DisputeFact:
        return _dispute(_call("GET", f"/v1/disputes/{_id(ref)}"))

    def find_refund(self, attempt_ref: str, refund_id: UUID) -> RefundFact | None:
        return next((fact for fact in self.list_refunds(attempt_ref) if fact.refund_id == refund_id), None)

    def list_refunds(self, attempt_ref: str) -> Sequence[RefundFact]:
        answer = _call("GET", f"/v1/payments/{_id(attempt_ref)}/refunds", params={"count": PAGE})
        return [_refund(item) for item in _items(answer)]

    def payments_since(self, since: int, *, skip: int | str = 0) -> Page[AttemptFact]:
        items, following = _page("/v1/payments", since, skip)
        return Page([_attempt(item) for item in items], following)

    def refunds_since(self, since: int, *, skip: int | str = 0) -> Page[RefundFact]:
        items, following = _page("/v1/refunds", since, skip)
        return Page([_refund(item) for item in items], following)

    def disputes_since(self, since: int, *, skip: int | str = 0) -> Page[DisputeFact]:
        items, following = _page("/v1/disputes", since, skip)
        return Page([_dispute(item) for item in items], following)

    # --- What the client gets and brings back -------------------------------------------------------------------------

    def client(self, start: StartFact) -> dict[str, Any]:
        key_id = settings.RAZORPAY_KEY_ID
        return {"order_id": start.ref, "key_id": key_id, "amount": start.amount, "currency": start.currency}

    def checkout_url(self, start: StartFact, *, page_url: str, return_url: str) -> str:
        """Razorpay itself has only a script for the browser, so our own page loads it; a stand-in has its own page."""
        if is_real():
            return page_url
        back = {"callback_url": return_url, "cancel_url": return_url} if return_url else {}
        return f"{settings.RAZORPAY_BASE_URL}/checkout/{start.ref}?{urlencode(back)}".rstrip("?")

    def check_client(self, claim: Mapping[str, str], *, refs: Sequence[str]) -> bool:
        """Source: HMAC-SHA256 with the API key's secret over `order_id|payment_id`, the order id being ours."""
        given = claim.get("razorpay_signature", "").encode()
        is_ours = False
        for ref in refs:
            expected = _hmac(settings.RAZORPAY_KEY_SECRET, f"{ref}|{claim.get('razorpay_payment_id', '')}".encode())
            is_ours |= hmac.compare_digest(expected, given) & (claim.get("razorpay_order_id") == ref)
        return is_ours


def is_real() -> bool:
    """Whether the configured host is Razorpay's own."""
    host = urlsplit(settings.RAZORPAY_BASE_URL).hostname or ""
    return host == "razorpay.com" or host.endswith(".razorpay.com")


def verify_webhook(headers: Mapping[str, str], body: bytes, *, now: int) -> Verdict:
    """Check the signature over the raw bytes.

    Source: HMAC-SHA256 with the webhook's own secret, hex, in X-Razorpay-Signature. No timestamp header exists; the
    signed body's `created_at` only tells an old delivery from a fresh one.
    """
    if not settings.RAZORPAY_WEBHOOK_SECRET:
        return Verdict.NOT_CONFIGURED
    given = next((value for name, value in headers.items() if name.lower() == "x-razorpay-signature"), "")
    if not hmac.compare_digest(_hmac(settings.RAZORPAY_WEBHOOK_SECRET, body), given.encode()):
        return Verdict.INVALID
    try:
        at = orjson.loads(body)["created_at"]
    except (ValueError, TypeError, KeyError):
        return Verdict.VALID
    is_old = isinstance(at, int) and now - at > WEBHOOK_AGE_S
    return Verdict.STALE if is_old else Verdict.VALID


def _hmac(secret: str, message: bytes) -> bytes:
    return hmac.new(secret.encode(), message, "sha256").hexdigest().encode()


def _call(
    method: str,
    path: str,
    *,
    json: Any = None,
    params: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """One call; its failures as what they mean for the money.

    Raises: Unreachable, Unclear, Rejected, Misconfigured.
    """
    if not (settings.RAZORPAY_KEY_ID and settings.RAZORPAY_KEY_SECRET):
        raise Misconfigured("no keys are set")
    with failures.told_apart():
        answer = http.call(
            method,
            settings.RAZORPAY_BASE_URL + path,
            json=json,
            params=params,
            headers=headers,
            auth=(settings.RAZORPAY_KEY_ID, settings.RAZORPAY_KEY_SECRET),
            timeout_s=TIMEOUT_S,
        )
    what = f"{method} {path}: {answer.status}"
    if failure := failures.by_status(what, answer.status, answer.headers):
        raise failure
    try:
        body = answer.json()
    except ValueError as error:
        raise Unclear(f"{what}, not JSON") from error
    if not isinstance(body, dict):
        raise Unclear(f"{what}, not an object")
    if 200 <= answer.status < 300:
        return body
    # 409: a refund with our key is still under way. 5xx: it may have acted.
    if answer.status == 409 or not 400 <= answer.status < 500:
        raise Unclear(what)
    given = body.get("error")
    told: dict[str, Any] = given if isinstance(given, dict) else {}
    raise Rejected(
        str(told.get("description") or what)[:500],
        status=answer.status,
        code=str(told.get("reason") or told.get("code") or "")[:64],
        field=str(told.get("field") or ""),
    )


def _id(ref: str) -> str:
    """An id of theirs as a path segment, so that what a client or webhook named can never lead elsewhere."""
    if not (0 < len(ref) <= 64 and ref.isascii() and ref.replace("_", "").isalnum()):
        raise Rejected(f"{ref[:64]!r} is no id of Razorpay's", status=400, code="bad_id")
    return ref


def _page(path: str, since: int, skip: int | str) -> tuple[list[dict[str, Any]], int | None]:
    items = _items(_call("GET", path, params={"from": since, "count": PAGE, "skip": skip}))
    return items, (int(skip) + len(items) if len(items) == PAGE else None)


def _items(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    items = body.get("items")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise Unclear("a list without items")
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


def _order(item: Mapping[str, Any]) -> StartFact:
    return StartFact(
        ref=_text(item, "id"),
        reference=str(item.get("receipt") or ""),
        amount=_whole(item, "amount"),
        currency=_text(item, "currency").upper(),
    )


def _attempt(item: Mapping[str, Any]) -> AttemptFact:
    status = _ATTEMPTS.get(_text(item, "status"))
    if status is None:
        raise Unclear(f"payment status {item['status']!r}")
    if item["status"] == "refunded" and item.get("captured") is False:
        status = AttemptStatus.LAPSED
    return AttemptFact(
        ref=_text(item, "id"),
        start_ref=str(item.get("order_id") or ""),
        status=status,
        amount=_whole(item, "amount"),
        currency=_text(item, "currency").upper(),
        refunded=0 if status is AttemptStatus.LAPSED else _whole(item, "amount_refunded", 0),
        method=str(item.get("method") or "")[:32],
        error_code=str(item.get("error_reason") or item.get("error_code") or "")[:64],
        error_message=str(item.get("error_description") or "")[:500],
        at=_whole(item, "created_at", 0),
    )


def _refund(item: Mapping[str, Any]) -> RefundFact:
    status = _REFUNDS.get(_text(item, "status"))
    if status is None:
        raise Unclear(f"refund status {item['status']!r}")
    notes = item.get("notes")  # an empty one comes as a list
    named = (notes.get("refund") if isinstance(notes, dict) else None) or item.get("receipt") or ""
    return RefundFact(
        ref=_text(item, "id"),
        attempt_ref=_text(item, "payment_id"),
        status=status,
        amount=_whole(item, "amount"),
        currency=_text(item, "currency").upper(),
        refund_id=_uuid(named),
        at=_whole(item, "created_at", 0),
    )


def _dispute(item: Mapping[str, Any]) -> DisputeFact:
    lost = _whole(item, "amount_deducted", 0)
    told = _text(item, "status")
    # A closed case (a bank's question, a fraud warning) moved money only if it says so.
    status = (DisputeStatus.LOST if lost else DisputeStatus.WON) if told == "closed" else _DISPUTES.get(told)
    if status is None:
        raise Unclear(f"dispute status {told!r}")
    amount = _whole(item, "amount")
    return DisputeFact(
        ref=_text(item, "id"),
        attempt_ref=_text(item, "payment_id"),
        status=status,
        amount=amount,
        currency=_text(item, "currency").upper(),
        lost=(lost or amount) if status is DisputeStatus.LOST else 0,
        phase=str(item.get("phase") or "")[:32],
        reason_code=str(item.get("reason_code") or "")[:64],
        respond_by=_whole(item, "respond_by", 0),
        at=_whole(item, "created_at", 0),
    )


def _uuid(text: Any) -> UUID | None:
    try:
        return UUID(str(text))
    except ValueError:
        return None

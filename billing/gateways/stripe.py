"""Stripe: payment intents for the client's library, checkout sessions for its hosted page, charges, refunds, disputes.

Source: Stripe's API reference at `stripe_wire.API_VERSION`. The attempts of a payment are Stripe's charges.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings

from billing.gateways import stripe_subscriptions
from billing.gateways import stripe_wire as wire
from billing.gateways.base import (
    AttemptFact,
    AttemptStatus,
    DisputeFact,
    DisputeStatus,
    Opening,
    Page,
    RefundFact,
    RefundStatus,
    Rejected,
    Snapshot,
    StartFact,
    Unclear,
)
from billing.models.payments import Flow
from inbox.deliveries import Verdict

WEBHOOK_AGE_S = 300
# Where a start is looked for whose answer we never read: from its reference's own time on.
SEARCH_BEFORE_S, SEARCH_AFTER_S = 600, 7200

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
            return _intent_start(wire.ask(lambda client: client.v1.payment_intents.create(intent, options)))
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
        return _session_start(wire.ask(lambda client: client.v1.checkout.sessions.create(session, options)))

    def close(self, ref: str) -> None:
        """Cancel the intent or expire the session."""
        try:
            if _is_session(ref):
                wire.ask(lambda client: client.v1.checkout.sessions.expire(wire.id_of(ref)))
            else:
                wire.ask(
                    lambda client: client.v1.payment_intents.cancel(
                        wire.id_of(ref), {"cancellation_reason": "abandoned"}
                    )
                )
        except Rejected:
            # What is closed already is refused the same way as what is paid.
            if self._read(ref)["status"] not in ("canceled", "expired"):
                raise

    def capture(self, attempt_ref: str, *, amount: int, currency: str) -> None:
        """Take an authorised charge. We ask for automatic capture, so only the dashboard's settings lead here."""
        intent = self.fetch_attempt(attempt_ref).start_ref
        try:
            wire.ask(
                lambda client: client.v1.payment_intents.capture(wire.id_of(intent), {"amount_to_capture": amount})
            )
        except Rejected:
            if self.fetch_attempt(attempt_ref).status is not AttemptStatus.CAPTURED:
                raise

    def refund(self, attempt_ref: str, *, amount: int, currency: str, refund_id: UUID, reason: str) -> RefundFact:
        asked: Any = {
            "charge": wire.id_of(attempt_ref),
            "amount": amount,
            "reason": "requested_by_customer",
            "metadata": {"refund": str(refund_id), "reason": reason[:500]},
        }
        options: Any = {"idempotency_key": str(refund_id)}
        return _refund(wire.ask(lambda client: client.v1.refunds.create(asked, options)))

    # --- What it says -------------------------------------------------------------------------------------------------

    def is_payable(self, start: StartFact, flow: str) -> bool:
        """A session is paid on its page, an intent with its secret."""
        return bool(start.url if flow == Flow.HOSTED else start.secret)

    def find_start(self, reference: str) -> StartFact | None:
        """Stripe has no look-up by reference that is up to date, so the lists around the reference's birth are read.

        A session first: its intent carries the reference as well.
        """
        window = _around(reference)
        sessions = wire.every(lambda client: client.v1.checkout.sessions.list(window))
        for item in sessions:
            if item.get("client_reference_id") == reference:
                return _session_start(item)
        for item in wire.every(lambda client: client.v1.payment_intents.list(window)):
            if wire.note(item, "reference") == reference:
                return _intent_start(item)
        return None

    def fetch(self, ref: str, *, dispute_refs: Sequence[str] = ()) -> Snapshot:
        found = self._read(ref)
        attempts: list[AttemptFact] = []
        refunds: list[RefundFact] = []
        disputes = [self.fetch_dispute(dispute_ref) for dispute_ref in dispute_refs]
        for intent in _intents(found):
            asked: Any = {"payment_intent": wire.text(intent, "id"), "limit": wire.PAGE}
            charges = wire.every(lambda client, asked=asked: client.v1.charges.list(asked))  # type: ignore[misc]
            attempts += [_charge(item, ref) for item in charges]
            attempts += _uncharged(intent, ref)
            if any(item.get("captured") for item in charges):
                raw = wire.every(lambda client, asked=asked: client.v1.refunds.list(asked))  # type: ignore[misc]
                refunds += [_refund(item) for item in raw]
            if any(item.get("disputed") for item in charges):
                raw = wire.every(lambda client, asked=asked: client.v1.disputes.list(asked))  # type: ignore[misc]
                disputes += [_dispute(item) for item in raw if item.get("id") not in dispute_refs]
        return Snapshot(_start(found), attempts, refunds, disputes)

    def _read(self, ref: str) -> dict[str, Any]:
        expand: Any
        if _is_session(ref):
            expand = {"expand": ["payment_intent"]}
            return wire.ask(lambda client: client.v1.checkout.sessions.retrieve(wire.id_of(ref), expand))
        if _is_invoice(ref):
            expand = {"expand": ["payments"]}
            return wire.ask(lambda client: client.v1.invoices.retrieve(wire.id_of(ref), expand))
        return wire.ask(lambda client: client.v1.payment_intents.retrieve(wire.id_of(ref)))

    def fetch_start(self, ref: str) -> StartFact:
        """Also of an intent that a session made, for it carries the same reference, or that an invoice did."""
        start = _start(self._read(ref))
        if start.reference:
            return start
        return replace(start, reference=stripe_subscriptions.invoice_behind(ref))

    def fetch_attempt(self, ref: str) -> AttemptFact:
        found = wire.ask(lambda client: client.v1.charges.retrieve(wire.id_of(ref)))
        return _charge(found, str(found.get("payment_intent") or ""))

    def fetch_refund(self, ref: str) -> RefundFact:
        return _refund(wire.ask(lambda client: client.v1.refunds.retrieve(wire.id_of(ref))))

    def fetch_dispute(self, ref: str) -> DisputeFact:
        return _dispute(wire.ask(lambda client: client.v1.disputes.retrieve(wire.id_of(ref))))

    def find_refund(self, attempt_ref: str, refund_id: UUID) -> RefundFact | None:
        raw = wire.every(lambda client: client.v1.refunds.list({"charge": wire.id_of(attempt_ref), "limit": wire.PAGE}))
        return next((fact for fact in map(_refund, raw) if fact.refund_id == refund_id), None)

    def payments_since(self, since: int, *, skip: int | str = 0) -> Page[AttemptFact]:
        items, following = wire.page(lambda client, asked: client.v1.charges.list(asked), since, skip)
        return Page([_charge(item, str(item.get("payment_intent") or "")) for item in items], following)

    def refunds_since(self, since: int, *, skip: int | str = 0) -> Page[RefundFact]:
        items, following = wire.page(lambda client, asked: client.v1.refunds.list(asked), since, skip)
        # One without a charge gave back what was never taken, such as a customer's balance.
        return Page([_refund(item) for item in items if item.get("charge")], following)

    def disputes_since(self, since: int, *, skip: int | str = 0) -> Page[DisputeFact]:
        items, following = wire.page(lambda client, asked: client.v1.disputes.list(asked), since, skip)
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


# --- Reading ----------------------------------------------------------------------------------------------------------


def _around(reference: str) -> Any:
    """The time in which the start of a reference was opened: it begins with a UUID that tells its own time."""
    try:
        at = (UUID(reference.rpartition("-")[0]).int >> 80) // 1000
    except ValueError:
        raise Rejected(f"{reference[:64]!r} is no reference of ours", status=400, code="bad_reference") from None
    return {"created": {"gte": max(0, at - SEARCH_BEFORE_S), "lte": at + SEARCH_AFTER_S}, "limit": wire.PAGE}


def _is_session(ref: str) -> bool:
    return ref.startswith("cs_")


def _is_invoice(ref: str) -> bool:
    return ref.startswith("in_")


def _start(item: Mapping[str, Any]) -> StartFact:
    match item.get("object"):
        case "checkout.session":
            return _session_start(item)
        case "invoice":
            return _invoice_start(item)
    return _intent_start(item)


def _intents(item: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What was tried to pay on a start: none before the first try on a session."""
    match item.get("object"):
        case "checkout.session":
            intent = item.get("payment_intent")
            return [intent] if isinstance(intent, dict) else []
        case "invoice":
            paying = [wire.part(one, "payment", "payment_intent") for one in wire.items_of(item.get("payments") or {})]
            return [{"id": ref} for ref in paying if isinstance(ref, str)]
    return [item]


def _invoice_start(item: Mapping[str, Any]) -> StartFact:
    """Begun by Stripe itself, so its id is our reference too."""
    ref = wire.text(item, "id")
    return StartFact(ref, ref, wire.whole(item, "amount_due"), wire.text(item, "currency").upper())


def _intent_start(item: Mapping[str, Any]) -> StartFact:
    return StartFact(
        ref=wire.text(item, "id"),
        reference=wire.note(item, "reference"),
        amount=wire.whole(item, "amount"),
        currency=wire.text(item, "currency").upper(),
        secret=str(item.get("client_secret") or "")[:255],
    )


def _session_start(item: Mapping[str, Any]) -> StartFact:
    return StartFact(
        ref=wire.text(item, "id"),
        reference=str(item.get("client_reference_id") or ""),
        amount=wire.whole(item, "amount_total"),
        currency=wire.text(item, "currency").upper(),
        url=str(item.get("url") or ""),
    )


def _charge(item: Mapping[str, Any], start_ref: str) -> AttemptFact:
    told = wire.text(item, "status")
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
        ref=wire.text(item, "id"),
        start_ref=start_ref,
        status=status,
        amount=wire.whole(item, "amount_captured" if is_captured else "amount"),
        currency=wire.text(item, "currency").upper(),
        refunded=wire.whole(item, "amount_refunded", 0) if is_captured else 0,
        method=str(wire.part(item, "payment_method_details", "type") or "")[:32],
        error_code=str(wire.part(item, "outcome", "reason") or item.get("failure_code") or "")[:64]
        if told == "failed"
        else "",
        error_message=str(item.get("failure_message") or "")[:500],
        at=wire.whole(item, "created", 0),
    )


def _uncharged(intent: Mapping[str, Any], start_ref: str) -> list[AttemptFact]:
    """A try that never became a charge, such as a failed 3-D Secure; known by the payment method that was entered."""
    error = intent.get("last_payment_error")
    method = wire.part(intent, "last_payment_error", "payment_method", "id")
    if not isinstance(error, dict) or error.get("charge") or not isinstance(method, str):
        return []
    failed = AttemptFact(
        ref=method[:64],
        start_ref=start_ref,
        status=AttemptStatus.FAILED,
        amount=wire.whole(intent, "amount"),
        currency=wire.text(intent, "currency").upper(),
        method=str(wire.part(error, "payment_method", "type") or "")[:32],
        error_code=str(error.get("decline_code") or error.get("code") or "")[:64],
        error_message=str(error.get("message") or "")[:500],
        at=wire.whole(error["payment_method"], "created", 0),
    )
    return [failed]


def _refund(item: Mapping[str, Any]) -> RefundFact:
    status = _REFUNDS.get(wire.text(item, "status"))
    if status is None:
        raise Unclear(f"refund status {item['status']!r}")
    return RefundFact(
        ref=wire.text(item, "id"),
        attempt_ref=wire.text(item, "charge"),
        status=status,
        amount=wire.whole(item, "amount"),
        currency=wire.text(item, "currency").upper(),
        refund_id=_uuid(wire.note(item, "refund")),
        at=wire.whole(item, "created", 0),
    )


def _dispute(item: Mapping[str, Any]) -> DisputeFact:
    told = wire.text(item, "status")
    status = _DISPUTES.get(told)
    if status is None:
        raise Unclear(f"dispute status {told!r}")
    amount = wire.whole(item, "amount")
    return DisputeFact(
        ref=wire.text(item, "id"),
        attempt_ref=wire.text(item, "charge"),
        status=status,
        amount=amount,
        currency=wire.text(item, "currency").upper(),
        lost=amount if status is DisputeStatus.LOST else 0,
        phase="inquiry" if told.startswith("warning_") else "appeal" if told.startswith("appeal_") else "chargeback",
        reason_code=str(item.get("reason") or "")[:64],
        respond_by=wire.whole(item["evidence_details"], "due_by", 0) if item.get("evidence_details") else 0,
        at=wire.whole(item, "created", 0),
    )


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None

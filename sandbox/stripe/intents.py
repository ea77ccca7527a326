"""Payment intents and the charges that come of them."""

from __future__ import annotations

from typing import Any

from sandbox import magic
from sandbox.box import Box
from sandbox.state import Doc
from sandbox.stripe import balance, cards, disputes, forms, methods, objects
from sandbox.stripe.errors import StripeError, card_error
from sandbox.tokens import new_id

FIELDS = {
    "amount", "automatic_payment_methods", "capture_method", "confirm", "currency", "customer", "description",
    "metadata", "off_session", "payment_method", "receipt_email", "return_url", "setup_future_usage",
    "statement_descriptor_suffix",
}  # fmt: skip
MAGIC_DECLINED, MAGIC_PENDING, MAGIC_UNDERPAID, MAGIC_OVERPAID = 1, 2, 5, 6
OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")
CANCELABLE = (*OPEN, "requires_capture", "processing")
SMALLEST = {"usd": 50, "eur": 50, "gbp": 30}


def create(box: Box, params: dict[str, Any]) -> Doc:
    """By the API; `confirm` pays at once with `payment_method`. Raises: StripeError."""
    forms.refuse_unknown(params, FIELDS)
    amount, currency = forms.amount(params), forms.currency(params)
    check_smallest(amount, currency)
    customer = forms.text(params, "customer")
    if customer:
        objects.load(box, "customer", customer, param="customer", status=400)
    automatic = params.get("automatic_payment_methods") or {"enabled": "true"}
    forms.refuse_unknown(automatic, {"enabled", "allow_redirects"}, "automatic_payment_methods")
    intent = make(
        box, amount=amount, currency=currency, customer=customer, metadata=forms.metadata(params),
        description=forms.text(params, "description"), receipt_email=forms.text(params, "receipt_email"),
        capture_method=forms.among(params, "capture_method", ("automatic", "automatic_async", "manual")),
    )  # fmt: skip
    if forms.flag(params, "confirm"):
        method = methods.named(box, forms.required(params, "payment_method"))
        pay(box, intent, methods.card_of(method), method=method, off_session=forms.flag(params, "off_session"))
    return objects.load(box, "payment_intent", intent["id"])


def check_smallest(amount: int, currency: str) -> None:
    if amount < SMALLEST.get(currency, 1):
        raise StripeError("Amount must be at least 50 cents", "amount", "amount_too_small")


def make(
    box: Box,
    *,
    amount: int,
    currency: str,
    metadata: dict[str, str],
    customer: str | None = None,
    description: str | None = None,
    receipt_email: str | None = None,
    capture_method: str | None = None,
    session: str | None = None,
    invoice: str | None = None,
) -> Doc:
    intent = objects.made(
        "payment_intent",
        amount=amount,
        amount_capturable=0,
        amount_received=0,
        automatic_payment_methods={"allow_redirects": "always", "enabled": True},
        canceled_at=None,
        cancellation_reason=None,
        capture_method=capture_method or "automatic_async",
        confirmation_method="automatic",
        currency=currency,
        customer=customer,
        description=description,
        last_payment_error=None,
        latest_charge=None,
        metadata=metadata,
        next_action=None,
        payment_method=None,
        payment_method_types=["card"],
        processing=None,
        receipt_email=receipt_email,
        setup_future_usage=None,
        status="requires_payment_method",
        _session=session,
        _invoice=invoice,
    )
    intent["client_secret"] = f"{intent['id']}_secret_{new_id('', 25)}"
    with box.store.transaction():
        objects.save(box, intent)
        announce(box, "payment_intent.created", intent)
    return intent


def pay(
    box: Box,
    intent: Doc,
    card: cards.Card,
    *,
    method: Doc | None = None,
    authenticated: bool = False,
    off_session: bool = False,
    refusal: cards.Refusal | None = None,
) -> list[str]:
    """Try to pay: succeeds, starts processing, asks for authentication, or fails. Answers the webhooks on their way.

    Raises: StripeError with the card's refusal; the intent then waits for another payment method.
    """
    if intent["status"] not in OPEN:
        raise unexpected(intent, "confirm")
    digits = intent["amount"] % 100
    method = method or methods.make(box, card, customer=intent["customer"], email=intent["receipt_email"])
    intent["payment_method"] = method["id"]
    refusal = refusal or card.refusal or (cards.DECLINED if digits == MAGIC_DECLINED else None)
    if refusal:
        _fail(box, intent, method, refusal)
    if card.needs_authentication and not authenticated:
        if off_session:
            _fail(box, intent, method, cards.AUTHENTICATION_REQUIRED)
        intent["status"] = "requires_action"
        intent["next_action"] = {"type": "use_stripe_sdk", "use_stripe_sdk": {"type": "three_d_secure_redirect"}}
        with box.store.transaction():
            objects.save(box, intent)
            return announce(box, "payment_intent.requires_action", intent)
    intent |= {"next_action": None, "last_payment_error": None}
    charge = _charge(box, intent, method)
    if digits == MAGIC_PENDING:
        charge["status"], intent["status"] = "pending", "processing"
        with box.store.transaction():
            objects.save(box, charge, parent=intent["id"])
            objects.save(box, intent)
            sent = announce(box, "payment_intent.processing", intent)
            box.agenda.after(box.tuned("pending_s"), "stripe.complete", intent["id"])
            return sent + _tell_maker(box, intent)
    sent = _succeed(box, intent, charge)
    if card.is_disputed:
        disputes.create(box, charge, reason="fraudulent")
    return sent


def fail_authentication(box: Box, intent: Doc) -> None:
    """The customer did not pass 3-D Secure: no charge is made. Raises: StripeError, always."""
    if intent["status"] != "requires_action":
        raise unexpected(intent, "confirm")
    method = objects.load(box, "payment_method", intent["payment_method"])
    _fail(box, intent, method, cards.UNAUTHENTICATED, is_charged=False)


def complete(box: Box, intent: Doc) -> list[str]:
    """What was processing is paid."""
    return _succeed(box, intent, objects.load(box, "charge", intent["latest_charge"]))


def _charge(box: Box, intent: Doc, method: Doc) -> Doc:
    charge = objects.made(
        "charge",
        amount=_amount_paid(intent["amount"]),
        amount_captured=0,
        amount_refunded=0,
        balance_transaction=None,
        billing_details=method["billing_details"],
        captured=False,
        currency=intent["currency"],
        customer=intent["customer"],
        description=intent["description"],
        disputed=False,
        failure_code=None,
        failure_message=None,
        metadata=dict(intent["metadata"]),
        outcome={"network_status": "approved_by_network", "reason": None, "risk_level": "normal",
                 "seller_message": "Payment complete.", "type": "authorized"},
        paid=False,
        payment_intent=intent["id"],
        payment_method=method["id"],
        payment_method_details={"type": "card", "card": dict(method["card"])},
        receipt_url=None,
        refunded=False,
        status="succeeded",
    )  # fmt: skip
    intent["latest_charge"] = charge["id"]
    return charge


def _amount_paid(amount: int) -> int:
    if amount % 100 == MAGIC_UNDERPAID:
        return amount - 100 if amount >= 200 else amount // 2
    if amount % 100 == MAGIC_OVERPAID:
        return amount + 100
    return amount


def _fail(box: Box, intent: Doc, method: Doc, refusal: cards.Refusal, *, is_charged: bool = True) -> None:
    code, decline_code, message = refusal
    told: Doc = {"code": code, "message": message, "type": "card_error" if is_charged else "invalid_request_error"}
    with box.store.transaction():
        if is_charged:
            charge = _charge(box, intent, method)
            charge |= {"status": "failed", "failure_code": code, "failure_message": message}
            charge["outcome"] |= {"network_status": "declined_by_network", "reason": decline_code,
                                  "seller_message": "The bank did not return any further details with this decline.",
                                  "type": "issuer_declined"}  # fmt: skip
            told |= {"charge": charge["id"], "decline_code": decline_code}
            objects.save(box, charge, parent=intent["id"])
            announce_charge(box, "charge.failed", charge, intent)
        intent |= {
            "status": "requires_payment_method",
            "next_action": None,
            "payment_method": None,
            "last_payment_error": told | {"payment_method": objects.public(method)},
        }
        objects.save(box, intent)
        announce(box, "payment_intent.payment_failed", intent)
    raise card_error(code, message, decline_code, payment_intent=objects.public(intent))


def _succeed(box: Box, intent: Doc, charge: Doc) -> list[str]:
    """The bank's yes: the money is ours, or reserved where capture is manual."""
    is_captured = intent["capture_method"] != "manual"
    charge |= {"status": "succeeded", "paid": True, "captured": is_captured}
    intent |= {"status": "succeeded" if is_captured else "requires_capture", "processing": None}
    with box.store.transaction():
        objects.save(box, charge, parent=intent["id"])
        if is_captured:
            _take(box, intent, charge, charge["amount"])
        else:
            intent["amount_capturable"] = charge["amount"]
        objects.save(box, intent)
        sent = announce_charge(box, "charge.succeeded", charge, intent)
        event = "payment_intent.succeeded" if is_captured else "payment_intent.amount_capturable_updated"
        sent += announce(box, event, intent)
        return sent + _tell_maker(box, intent)


def _take(box: Box, intent: Doc, charge: Doc, amount: int) -> None:
    fee = amount * 29 // 1000 + 30
    charge |= {"captured": True, "amount_captured": amount}
    charge["balance_transaction"] = balance.move(box, charge, amount, "charge", fee=fee)["id"]
    intent |= {"status": "succeeded", "amount_received": amount, "amount_capturable": 0}
    objects.save(box, charge)


def capture(box: Box, intent: Doc, params: dict[str, Any]) -> Doc:
    forms.refuse_unknown(params, {"amount_to_capture", "metadata"})
    if intent["status"] != "requires_capture":
        raise unexpected(intent, "capture")
    amount = forms.whole(params, "amount_to_capture", intent["amount_capturable"])
    if not 1 <= amount <= intent["amount_capturable"]:
        raise StripeError("The amount could not be captured.", "amount_to_capture", "amount_too_large")
    with box.store.transaction():
        charge = objects.load(box, "charge", intent["latest_charge"])
        _take(box, intent, charge, amount)
        objects.save(box, intent)
        announce_charge(box, "charge.captured", charge, intent)
        announce(box, "payment_intent.succeeded", intent)
    return intent


def confirm(box: Box, intent: Doc, params: dict[str, Any]) -> Doc:
    """By the API, with a payment method by id or name. Raises: StripeError."""
    forms.refuse_unknown(params, {"payment_method", "off_session", "return_url", "receipt_email"})
    method = methods.named(box, forms.required(params, "payment_method"))
    pay(box, intent, methods.card_of(method), method=method, off_session=forms.flag(params, "off_session"))
    return objects.load(box, "payment_intent", intent["id"])


def cancel(box: Box, intent: Doc, params: dict[str, Any]) -> Doc:
    forms.refuse_unknown(params, {"cancellation_reason"})
    reason = forms.among(
        params, "cancellation_reason", ("abandoned", "duplicate", "fraudulent", "requested_by_customer")
    )
    if intent["_session"]:
        raise StripeError(
            "You cannot cancel PaymentIntents created by Checkout Sessions; expire the Session instead.",
            code="payment_intent_unexpected_state",
        )
    if intent["status"] not in CANCELABLE:
        raise unexpected(intent, "cancel")
    end(box, intent, reason)
    return intent


def end(box: Box, intent: Doc, reason: str | None) -> None:
    intent |= {"status": "canceled", "canceled_at": objects.now(), "cancellation_reason": reason, "next_action": None}
    with box.store.transaction():
        objects.save(box, intent)
        announce(box, "payment_intent.canceled", intent)


def unexpected(intent: Doc, verb: str) -> StripeError:
    return StripeError(
        f"You cannot {verb} this PaymentIntent because it has a status of {intent['status']}.",
        code="payment_intent_unexpected_state",
        more={"payment_intent": objects.public(intent)},
    )


def announce(box: Box, event: str, intent: Doc) -> list[str]:
    return objects.announce(box, event, intent, amount=intent["amount"])


def announce_charge(box: Box, event: str, charge: Doc, intent: Doc) -> list[str]:
    """An event about a charge is as magic as the amount that was asked for."""
    return objects.announce(box, event, charge, amount=intent["amount"])


def is_first(intent: Doc) -> bool:
    """Whether webhooks about it must arrive before the caller's answer."""
    return magic.sending(intent["amount"]).is_first


def _tell_maker(box: Box, intent: Doc) -> list[str]:
    """Whoever made the intent follows it."""
    from sandbox.stripe import invoices, sessions

    if intent["_invoice"]:
        return invoices.follow(box, intent)
    return sessions.follow(box, intent) if intent["_session"] else []


def register(box: Box) -> None:
    """Name this module's timed actions."""

    async def complete_later(intent_id: str) -> None:
        intent = objects.find(box, "payment_intent", intent_id)
        if intent and intent["status"] == "processing":
            complete(box, intent)

    box.agenda.actions["stripe.complete"] = complete_later

"""Checkout sessions: the page that Stripe hosts, and the payment intent that paying on it makes."""

from __future__ import annotations

from typing import Any

from sandbox.box import Box
from sandbox.state import Doc
from sandbox.stripe import forms, intents, objects
from sandbox.stripe.errors import StripeError, missing
from sandbox.tokens import new_id

FIELDS = {
    "cancel_url", "client_reference_id", "customer", "customer_email", "expires_at", "line_items", "metadata", "mode",
    "payment_intent_data", "submit_type", "success_url", "ui_mode",
}  # fmt: skip
OPEN_FOR_S = 24 * 3600


def create(box: Box, params: dict[str, Any], origin: str) -> Doc:
    """Raises: StripeError."""
    forms.refuse_unknown(params, FIELDS)
    mode = forms.among(params, "mode", ("payment",))
    if mode is None:
        raise missing("mode")
    forms.among(params, "ui_mode", ("hosted_page",))
    if params.get("customer") and params.get("customer_email"):
        raise StripeError("You may only specify one of these parameters: customer, customer_email.", "customer")
    customer = forms.text(params, "customer")
    if customer:
        objects.load(box, "customer", customer, param="customer", status=400)
    lines, currency = _lines(params)
    total = sum(line["amount_total"] for line in lines)
    intents.check_smallest(total, currency)
    data = params.get("payment_intent_data") or {}
    forms.refuse_unknown(data, {"metadata", "description", "receipt_email"}, "payment_intent_data")
    session = objects.made(
        "checkout.session",
        amount_subtotal=total,
        amount_total=total,
        cancel_url=forms.text(params, "cancel_url"),
        client_reference_id=forms.text(params, "client_reference_id", longest=200),
        client_secret=None,
        currency=currency,
        customer=customer,
        customer_details=None,
        customer_email=forms.text(params, "customer_email"),
        expires_at=_expires_at(params),
        invoice=None,
        metadata=forms.metadata(params),
        mode=mode,
        payment_intent=None,
        payment_method_types=["card"],
        payment_status="unpaid",
        status="open",
        subscription=None,
        success_url=forms.required(params, "success_url"),
        ui_mode="hosted_page",
        _lines=lines,
        _intent={
            "metadata": forms.metadata(data),
            "description": forms.text(data, "description"),
            "receipt_email": forms.text(data, "receipt_email"),
        },
    )
    session["url"] = f"{origin}/stripe/checkout/{session['id']}"
    with box.store.transaction():
        objects.save(box, session)
        # By the sandbox's own clock, which tests move.
        box.agenda.after(session["expires_at"] - session["created"], "stripe.expire", session["id"])
    return session


def _lines(params: dict[str, Any]) -> tuple[list[Doc], str]:
    given = params.get("line_items")
    if not isinstance(given, list) or not given:
        raise missing("line_items")
    lines, currencies = [], set()
    for n, item in enumerate(given):
        forms.refuse_unknown(item, {"price_data", "quantity"}, f"line_items[{n}]")
        price = item.get("price_data") or {}
        forms.refuse_unknown(price, {"currency", "unit_amount", "product_data"}, f"line_items[{n}][price_data]")
        amount, quantity = forms.amount(price, "unit_amount"), forms.whole(item, "quantity", 1)
        currencies.add(forms.currency(price))
        lines.append(
            {
                "id": new_id("li_", 24),
                "object": "item",
                "amount_subtotal": amount * quantity,
                "amount_total": amount * quantity,
                "currency": forms.currency(price),
                "description": forms.required(price.get("product_data") or {}, "name"),
                "quantity": quantity,
            }
        )
    if len(currencies) > 1:
        raise StripeError("All line items must have the same currency.", "line_items")
    return lines, currencies.pop()


def _expires_at(params: dict[str, Any]) -> int:
    at = forms.whole(params, "expires_at", objects.now() + OPEN_FOR_S)
    if not objects.now() + 1800 <= at <= objects.now() + OPEN_FOR_S:
        raise StripeError("The `expires_at` timestamp must be between 30 minutes and 24 hours from now.", "expires_at")
    return at


def intent_of(box: Box, session: Doc, email: str | None) -> Doc:
    """The session's payment intent, made when the customer first tries to pay."""
    if session["payment_intent"]:
        return objects.load(box, "payment_intent", session["payment_intent"])
    with box.store.transaction():
        intent = intents.make(
            box, amount=session["amount_total"], currency=session["currency"], customer=session["customer"],
            session=session["id"], **session["_intent"],
        )  # fmt: skip
        session["payment_intent"] = intent["id"]
        session["customer_details"] = {"email": email or session["customer_email"], "name": None}
        objects.save(box, session)
    return intent


def follow(box: Box, intent: Doc) -> list[str]:
    """Its intent moved on: the session is complete once paying has succeeded or is under way."""
    session = objects.load(box, "checkout.session", intent["_session"])
    was = session["status"]
    is_paid = intent["status"] in ("succeeded", "requires_capture")
    session |= {"status": "complete", "payment_status": "paid" if is_paid else "unpaid", "url": None}
    objects.save(box, session)
    event = "completed" if was == "open" else "async_payment_succeeded"
    return announce(box, f"checkout.session.{event}", session)


def expire(box: Box, session: Doc) -> Doc:
    if session["status"] != "open":
        raise StripeError(
            f"Only Checkout Sessions with a status in [\"open\"] can be expired. This Checkout Session has a status of "
            f"{session['status']}."
        )  # fmt: skip
    with box.store.transaction():
        if session["payment_intent"]:
            intents.end(box, objects.load(box, "payment_intent", session["payment_intent"]), "automatic")
        session |= {"status": "expired", "url": None}
        objects.save(box, session)
        announce(box, "checkout.session.expired", session)
    return session


def announce(box: Box, event: str, session: Doc) -> list[str]:
    return objects.announce(box, event, session, amount=session["amount_total"])


def register(box: Box) -> None:
    """Name this module's timed actions."""

    async def expire_later(session_id: str) -> None:
        session = objects.find(box, "checkout.session", session_id)
        if session and session["status"] == "open":
            expire(box, session)

    box.agenda.actions["stripe.expire"] = expire_later

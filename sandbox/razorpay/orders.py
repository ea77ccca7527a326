"""Orders."""

from __future__ import annotations

import re
import time
from typing import Any

from sandbox.box import Box
from sandbox.razorpay import entities
from sandbox.razorpay.errors import RazorpayError
from sandbox.state import Doc
from sandbox.tokens import new_id

FIELDS = {"amount", "currency", "receipt", "notes", "partial_payment", "payment", "payment_capture", "unique_receipt"}


def create(box: Box, body: dict[str, Any]) -> Doc:
    """Idempotent: with `unique_receipt: true`, by receipt."""
    entities.refuse_unknown(body, FIELDS)
    amount, currency = amount_of(body), currency_of(body)
    receipt = body.get("receipt")
    if receipt is not None and (not isinstance(receipt, str) or len(receipt) > 40):
        raise RazorpayError("The receipt may not be greater than 40 characters.", "receipt")
    for name in ("partial_payment", "unique_receipt"):
        if body.get(name) not in (None, True, False):
            raise RazorpayError(f"The {name} field must be true or false.", name)
    captures = _captures_automatically(body)
    if body.get("unique_receipt") and receipt:
        earlier = box.store.get("razorpay.receipt", receipt)
        if earlier:
            return entities.load(box, "order", earlier["order_id"])
    order: Doc = {
        "id": new_id("order_"),
        "entity": "order",
        "amount": amount,
        "amount_paid": 0,
        "amount_due": amount,
        "currency": currency,
        "receipt": receipt,
        "offer_id": None,
        "status": "created",
        "attempts": 0,
        "notes": entities.notes_of(body.get("notes")),
        "created_at": int(time.time()),
        "_captures": captures,
    }
    with box.store.transaction():
        entities.save(box, order)
        if receipt and not box.store.get("razorpay.receipt", receipt):
            box.store.put("razorpay.receipt", receipt, {"order_id": order["id"]})
    return order


def edit(box: Box, order_id: str, body: dict[str, Any]) -> Doc:
    order = entities.load(box, "order", order_id)
    entities.refuse_unknown(body, {"notes"})
    order["notes"] = entities.notes_of(body.get("notes"))
    entities.save(box, order)
    return order


def amount_of(body: dict[str, Any]) -> int:
    amount = body.get("amount")
    if amount is None:
        raise RazorpayError("The amount field is required.", "amount")
    if not isinstance(amount, int) or isinstance(amount, bool):
        raise RazorpayError("The amount must be an integer.", "amount")
    minimum = 100 if body.get("currency", "INR") == "INR" else 1
    if amount < minimum:
        raise RazorpayError(
            "The amount must be at least INR 1.00" if minimum == 100 else "The amount must be at least 1.", "amount"
        )
    return amount


def currency_of(body: dict[str, Any]) -> str:
    currency = body.get("currency")
    if currency is None:
        raise RazorpayError("The currency field is required.", "currency")
    if not isinstance(currency, str) or not re.fullmatch(r"[A-Z]{3}", currency):
        raise RazorpayError("Currency is not supported", "currency")
    return currency


def _captures_automatically(body: dict[str, Any]) -> bool:
    """The order's own word, else the legacy flag, else the account's setting, which is manual here."""
    payment = body.get("payment")
    if payment is None:
        legacy = body.get("payment_capture", 0)
        if legacy not in (0, 1, "0", "1", True, False):
            raise RazorpayError("The payment capture field must be true or false.", "payment_capture")
        return legacy in (1, "1", True)
    if not isinstance(payment, dict):
        raise RazorpayError("The payment must be an array.", "payment")
    entities.refuse_unknown(payment, {"capture", "capture_options"})
    if payment.get("capture") not in ("automatic", "manual"):
        raise RazorpayError("The selected payment.capture is invalid.", "payment.capture")
    options = payment.get("capture_options") or {}
    if not isinstance(options, dict):
        raise RazorpayError("The payment.capture_options must be an array.", "payment.capture_options")
    entities.refuse_unknown(options, {"automatic_expiry_period", "manual_expiry_period", "refund_speed"})
    if options.get("refund_speed") not in (None, "normal", "optimum"):
        raise RazorpayError("The selected refund speed is invalid.", "payment.capture_options.refund_speed")
    return bool(payment["capture"] == "automatic")

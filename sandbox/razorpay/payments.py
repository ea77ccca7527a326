"""Payments: attempts on an order, authorisation (also late), capture."""

from __future__ import annotations

import time
from typing import Any

from sandbox import magic
from sandbox.box import Box
from sandbox.razorpay import cards, entities
from sandbox.razorpay.errors import RazorpayError
from sandbox.state import Doc
from sandbox.tokens import new_id

MAGIC_DECLINED, MAGIC_PENDING, MAGIC_UNDERPAID, MAGIC_OVERPAID = 1, 2, 5, 6
# An authorised payment that nobody captures goes back to the customer.
AUTO_REFUND_AFTER_S = 5 * 24 * 3600


def attempt(box: Box, order: Doc, instrument: cards.Instrument, *, email: str, contact: str) -> Doc:
    """Record that the customer tried to pay: a payment in state created, the order attempted."""
    payment: Doc = {
        "id": new_id("pay_"),
        "entity": "payment",
        "amount": _amount_paid(order["amount"]),
        "currency": order["currency"],
        "status": "created",
        "order_id": order["id"],
        "invoice_id": None,
        "international": False,
        "method": instrument.method,
        "amount_refunded": 0,
        "refund_status": None,
        "captured": False,
        "description": None,
        "card_id": new_id("card_") if instrument.method == "card" else None,
        "bank": instrument.bank if instrument.method == "netbanking" else None,
        "wallet": "payzapp" if instrument.method == "wallet" else None,
        "vpa": instrument.vpa,
        "email": email,
        "contact": contact,
        "notes": order["notes"],
        "fee": None,
        "tax": None,
        "error_code": None,
        "error_description": None,
        "error_source": None,
        "error_step": None,
        "error_reason": None,
        "acquirer_data": {},
        "created_at": int(time.time()),
    }
    with box.store.transaction():
        entities.save(box, payment, parent=order["id"])
        order["attempts"] += 1
        if order["status"] == "created":
            order["status"] = "attempted"
        entities.save(box, order)
    return payment


def _amount_paid(amount: int) -> int:
    if amount % 100 == MAGIC_UNDERPAID:
        return amount - 100 if amount >= 200 else amount // 2
    if amount % 100 == MAGIC_OVERPAID:
        return amount + 100
    return amount


def fail(box: Box, payment: Doc, refusal: tuple[str, str]) -> list[str]:
    """End this attempt; the order stays open for another."""
    reason, description = refusal
    payment |= {
        "status": "failed",
        "error_code": "BAD_REQUEST_ERROR",
        "error_description": description,
        "error_source": "customer" if reason == "incorrect_otp" else "bank",
        "error_step": "payment_authentication" if "otp" in reason or "auth" in reason else "payment_authorization",
        "error_reason": reason,
    }
    with box.store.transaction():
        entities.save(box, payment)
        return entities.announce(box, "payment.failed", payment)


def authorize(box: Box, payment: Doc) -> list[str]:
    """Reserve the customer's money. A failed payment may still come here: late authorisation."""
    if payment["status"] not in ("created", "failed"):
        raise RazorpayError(f"This payment is {payment['status']} and cannot be authorised")
    payment |= {name: None for name in payment if name.startswith("error_")}
    payment["status"] = "authorized"
    payment["acquirer_data"] = {"rrn" if payment["method"] == "upi" else "auth_code": new_id("", 6).upper()}
    with box.store.transaction():
        entities.save(box, payment)
        box.agenda.after(AUTO_REFUND_AFTER_S, "razorpay.return_uncaptured", payment["id"])
        return entities.announce(box, "payment.authorized", payment)


def capture(box: Box, payment: Doc) -> list[str]:
    """Take the reserved money; the order is paid once what was captured reaches its amount."""
    fee = (payment["amount"] * 236 + 5_000) // 10_000
    payment |= {"status": "captured", "captured": True, "fee": fee, "tax": fee * 18 // 118}
    with box.store.transaction():
        entities.save(box, payment)
        sent = entities.announce(box, "payment.captured", payment)
        order = entities.load(box, "order", payment["order_id"])
        was_paid = order["status"] == "paid"
        order["amount_paid"] += payment["amount"]
        order["amount_due"] = max(0, order["amount"] - order["amount_paid"])
        if not order["amount_due"]:
            order["status"] = "paid"
        entities.save(box, order)
        if order["status"] == "paid" and not was_paid:
            sent += entities.announce(box, "order.paid", payment, order)
    return sent


def complete(box: Box, payment: Doc) -> list[str]:
    """What the bank's yes brings about: authorisation, and capture where the order asked for it."""
    with box.store.transaction():
        sent = authorize(box, payment)
        if entities.load(box, "order", payment["order_id"])["_captures"]:
            sent += capture(box, payment)
    return sent


def capture_by_api(box: Box, payment_id: str, body: dict[str, Any]) -> tuple[Doc, list[str]]:
    payment = entities.load(box, "payment", payment_id)
    entities.refuse_unknown(body, {"amount", "currency"})
    amount = body.get("amount")
    if isinstance(amount, str) and amount.isdecimal():
        amount = int(amount)
    if not isinstance(amount, int) or isinstance(amount, bool):
        raise RazorpayError("The amount must be an integer.", "amount")
    if payment["captured"]:
        raise RazorpayError("This payment has already been captured")
    if payment["status"] != "authorized":
        raise RazorpayError("Only payments which have been authorized and not yet captured can be captured")
    if body.get("currency", payment["currency"]) != payment["currency"]:
        raise RazorpayError("Payment currency is not the same as the capture currency", "currency")
    if amount != payment["amount"]:
        raise RazorpayError("Capture amount must be equal to the amount authorized", "amount")
    return payment, capture(box, payment)


def is_first(payment: Doc) -> bool:
    """Whether webhooks about it must arrive before the caller's answer."""
    return magic.sending(payment["amount"]).is_first


def register(box: Box) -> None:
    """Name this module's timed actions."""

    async def complete_later(payment_id: str) -> None:
        payment = box.store.get(entities.KINDS["payment"], payment_id)
        if payment and payment["status"] in ("created", "failed"):
            complete(box, payment)

    async def return_uncaptured(payment_id: str) -> None:
        from sandbox.razorpay import refunds

        payment = box.store.get(entities.KINDS["payment"], payment_id)
        if payment and payment["status"] == "authorized":
            refunds.create(box, payment, amount=payment["amount"], may_be_uncaptured=True)

    box.agenda.actions["razorpay.complete"] = complete_later
    box.agenda.actions["razorpay.return_uncaptured"] = return_uncaptured

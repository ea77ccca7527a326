"""Refunds: full and partial, at once or later, failing or not."""

from __future__ import annotations

import json
import re
import time
from typing import Any

from sandbox import magic
from sandbox.box import Box
from sandbox.razorpay import entities
from sandbox.razorpay.errors import RazorpayError
from sandbox.state import Doc
from sandbox.tokens import new_id

MAGIC_FAILS, MAGIC_PENDING = 1, 2


def create_by_api(box: Box, payment_id: str, body: dict[str, Any], key: str | None) -> tuple[Doc, list[str]]:
    """Idempotent: by the X-Refund-Idempotency header; the same key with another body is refused.

    Source: the vendor's page on refund idempotency.
    """
    payment = entities.load(box, "payment", payment_id)
    entities.refuse_unknown(body, {"amount", "speed", "notes", "receipt"})
    if key is not None and not re.fullmatch(r"[A-Za-z0-9_-]{10,}", key):
        raise RazorpayError("The idempotency key must be at least 10 characters of letters, digits, - and _.")
    fingerprint = json.dumps([payment_id, body], sort_keys=True)
    if key is not None:
        earlier = box.store.get("razorpay.refund_key", key)
        if earlier and earlier["fingerprint"] != fingerprint:
            raise RazorpayError("Different request body sent with the same idempotency key.")
        if earlier:
            return entities.load(box, "refund", earlier["refund_id"]), []
    rest = payment["amount"] - payment["amount_refunded"]
    amount = body.get("amount", rest)
    if isinstance(amount, str) and amount.isdecimal():
        amount = int(amount)
    if not isinstance(amount, int) or isinstance(amount, bool) or (amount < 1 and rest):
        raise RazorpayError("The amount must be an integer of at least 1.", "amount")
    speed = body.get("speed", "normal")
    if speed not in ("normal", "optimum"):
        raise RazorpayError("The selected speed is invalid.", "speed")
    receipt = body.get("receipt")
    if receipt is not None and (not isinstance(receipt, str) or len(receipt) > 40):
        raise RazorpayError("The receipt may not be greater than 40 characters.", "receipt")
    with box.store.transaction():
        refund, sent = create(
            box, payment, amount=amount, speed=speed, notes=entities.notes_of(body.get("notes")), receipt=receipt
        )
        if key is not None:
            box.store.put("razorpay.refund_key", key, {"refund_id": refund["id"], "fingerprint": fingerprint})
    return refund, sent


def create(
    box: Box,
    payment: Doc,
    *,
    amount: int,
    speed: str = "normal",
    notes: Any = None,
    receipt: str | None = None,
    may_be_uncaptured: bool = False,
) -> tuple[Doc, list[str]]:
    """Give money back. Processed at once as in the provider's test mode, unless the amount is magic."""
    if payment["status"] == "refunded":
        raise RazorpayError("The payment has been fully refunded already")
    if payment["status"] != "captured" and not (may_be_uncaptured and payment["status"] == "authorized"):
        raise RazorpayError("The payment status should be captured for action to be taken")
    if amount > payment["amount"] - payment["amount_refunded"]:
        raise RazorpayError("The total refund amount is greater than the refund payment amount", "amount")
    is_later = amount % 100 in (MAGIC_FAILS, MAGIC_PENDING)
    refund: Doc = {
        "id": new_id("rfnd_"),
        "entity": "refund",
        "amount": amount,
        "currency": payment["currency"],
        "payment_id": payment["id"],
        "notes": notes or [],
        "receipt": receipt,
        "acquirer_data": {"arn": None},
        "created_at": int(time.time()),
        "batch_id": None,
        "status": "pending",
        "speed_requested": speed,
        "speed_processed": "instant" if speed == "optimum" and not is_later else "normal",
    }
    with box.store.transaction():
        entities.save(box, refund, parent=payment["id"])
        _count(payment, amount)
        entities.save(box, payment)
        sent = entities.announce(box, "refund.created", refund, payment)
        if amount % 100 == MAGIC_FAILS:
            box.agenda.after(box.tuned("speed_s"), "razorpay.fail_refund", refund["id"])
        elif amount % 100 == MAGIC_PENDING:
            box.agenda.after(box.tuned("pending_s"), "razorpay.process_refund", refund["id"])
        else:
            sent += process(box, refund)
    return refund, sent


def process(box: Box, refund: Doc) -> list[str]:
    if refund["status"] != "pending":
        raise RazorpayError(f"This refund is {refund['status']}")
    refund |= {"status": "processed", "acquirer_data": {"arn": new_id("", 12).upper()}}
    with box.store.transaction():
        entities.save(box, refund)
        return entities.announce(box, "refund.processed", refund, entities.load(box, "payment", refund["payment_id"]))


def fail(box: Box, refund: Doc) -> list[str]:
    """The bank did not take it: the money is back with the merchant. A processed refund may bounce as well."""
    if refund["status"] == "failed":
        raise RazorpayError("This refund is failed")
    refund["status"] = "failed"
    payment = entities.load(box, "payment", refund["payment_id"])
    _count(payment, -refund["amount"])
    with box.store.transaction():
        entities.save(box, refund)
        entities.save(box, payment)
        return entities.announce(box, "refund.failed", refund, payment)


def _count(payment: Doc, amount: int) -> None:
    payment["amount_refunded"] += amount
    is_full = payment["amount_refunded"] == payment["amount"]
    payment["refund_status"] = "full" if is_full else "partial" if payment["amount_refunded"] else None
    if payment["captured"] or is_full:
        # A partly refunded payment keeps `captured`; so does one whose refund failed.
        payment["status"] = "refunded" if is_full else "captured"


def is_first(refund: Doc) -> bool:
    return magic.sending(refund["amount"]).is_first


def register(box: Box) -> None:
    """Name this module's timed actions."""

    async def process_later(refund_id: str) -> None:
        refund = box.store.get(entities.KINDS["refund"], refund_id)
        if refund and refund["status"] == "pending":
            process(box, refund)

    async def fail_later(refund_id: str) -> None:
        refund = box.store.get(entities.KINDS["refund"], refund_id)
        if refund and refund["status"] == "pending":
            fail(box, refund)

    box.agenda.actions["razorpay.process_refund"] = process_later
    box.agenda.actions["razorpay.fail_refund"] = fail_later

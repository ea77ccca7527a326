"""Disputes: opened by the customer's bank (here: on the dashboard page), then won, lost or closed."""

from __future__ import annotations

import time

from sandbox.box import Box
from sandbox.razorpay import entities
from sandbox.razorpay.errors import RazorpayError
from sandbox.state import Doc
from sandbox.tokens import new_id

PHASES = ("fraud", "retrieval", "chargeback", "pre_arbitration", "arbitration")
OPEN = ("open", "under_review")
# What the dashboard's buttons do: the dispute's next status and the event that tells it.
VERDICTS = {
    "review": ("under_review", "payment.dispute.under_review"),
    "action-required": ("open", "payment.dispute.action_required"),
    "win": ("won", "payment.dispute.won"),
    "lose": ("lost", "payment.dispute.lost"),
    "close": ("closed", "payment.dispute.closed"),
}


def create(box: Box, payment: Doc, *, amount: int | None, phase: str = "chargeback", reason_code: str = "") -> Doc:
    """Open a dispute over a captured payment, in part or in full."""
    if not payment["captured"]:
        raise RazorpayError("Only a captured payment can be disputed")
    amount = payment["amount"] if amount is None else amount
    disputed = sum(
        dispute["amount"]
        for dispute in box.store.find(entities.KINDS["dispute"], parent=payment["id"])
        if dispute["status"] not in ("won", "closed")
    )
    if not 1 <= amount <= payment["amount"] - disputed:
        raise RazorpayError("The dispute amount must be at least 1 and at most what is not disputed yet", "amount")
    if phase not in PHASES:
        raise RazorpayError("The selected phase is invalid.", "phase")
    now = int(time.time())
    dispute: Doc = {
        "id": new_id("disp_"),
        "entity": "dispute",
        "payment_id": payment["id"],
        "amount": amount,
        "currency": payment["currency"],
        "amount_deducted": 0,
        "reason_code": reason_code or "goods_or_services_not_received_or_partially_received",
        "respond_by": now + 7 * 24 * 3600,
        "status": "open",
        "phase": phase,
        "created_at": now,
    }
    with box.store.transaction():
        entities.save(box, dispute, parent=payment["id"])
        announce(box, "payment.dispute.created", dispute)
    return dispute


def decide(box: Box, dispute: Doc, verdict: str) -> Doc:
    """Move an open dispute on; a lost one may be won after all. The money is deducted only when it is lost."""
    if verdict not in VERDICTS:
        raise RazorpayError("There is no such verdict")
    if dispute["status"] not in OPEN and (dispute["status"], verdict) != ("lost", "win"):
        raise RazorpayError(f"This dispute is {dispute['status']}")
    status, event = VERDICTS[verdict]
    dispute["status"] = status
    dispute["amount_deducted"] = dispute["amount"] if status == "lost" else 0
    with box.store.transaction():
        entities.save(box, dispute)
        announce(box, event, dispute)
    return dispute


def announce(box: Box, event: str, dispute: Doc) -> list[str]:
    return entities.announce(box, event, entities.load(box, "payment", dispute["payment_id"]), dispute)

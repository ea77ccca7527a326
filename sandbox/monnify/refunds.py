"""Refunds: of account transfers only, in whole or in part, paid out at once or later, failing or not."""

from __future__ import annotations

import time
from typing import Any

from sandbox import magic
from sandbox.box import Box
from sandbox.monnify import naira, transactions
from sandbox.monnify.errors import MonnifyError
from sandbox.state import Doc

KIND = "monnify.refund"
MAGIC_FAILS, MAGIC_PENDING = 1, 2


def create_by_api(box: Box, body: dict[str, Any]) -> Doc:
    """Source: the vendor's refund codes R1 to R12. The refund reference is taken once: that is the idempotency."""
    for name in ("transactionReference", "refundReference", "refundAmount", "refundReason", "customerNote"):
        if body.get(name) in (None, ""):
            raise MonnifyError(f"{name} is required", status=400)
    if len(str(body["refundReason"])) > 64 or len(str(body["customerNote"])) > 16:
        raise MonnifyError("Refund reason or customer note is too long", "R8")
    if box.store.get(KIND, str(body["refundReference"])):
        raise MonnifyError("Refund reference already used", "R9")
    doc = box.store.get(transactions.KIND, str(body["transactionReference"]))
    if doc is None:
        raise MonnifyError("Transaction not found", "R1", status=404)
    amount = naira.kobo(body["refundAmount"], "refundAmount")
    return create(
        box, doc, amount, reference=str(body["refundReference"]), reason=str(body["refundReason"]),
        note=str(body["customerNote"]),
    )  # fmt: skip


def create(box: Box, doc: Doc, amount: int, *, reference: str, reason: str, note: str) -> Doc:
    if doc["method"] != "ACCOUNT_TRANSFER" or not doc["paid"] or doc["status"] == "REVERSED":
        raise MonnifyError("Refund is not permitted for this transaction", "R2")
    if amount > doc["paid"]:
        raise MonnifyError("Refund amount is above the transaction amount", "R3")
    if amount < 10_000:
        raise MonnifyError("Refund amount is below 100.00", "R4")
    given = sum(refund["amount"] for refund in box.store.find(KIND, parent=doc["id"]) if refund["status"] != "FAILED")
    if given + amount > doc["paid"]:
        raise MonnifyError("Total refunds are above the transaction amount", "R12")
    refund: Doc = {
        "id": reference,
        "transaction": doc["id"],
        "amount": amount,
        "is_full": amount == doc["paid"],
        "reason": reason,
        "note": note,
        "status": "PENDING",
        "created_at": int(time.time()),
    }
    with box.store.transaction():
        box.store.put(KIND, refund["id"], refund, parent=doc["id"])
        if amount % 100 == MAGIC_FAILS:
            box.agenda.after(box.tuned("speed_s"), "monnify.fail_refund", refund["id"])
        elif amount % 100 == MAGIC_PENDING:
            box.agenda.after(box.tuned("pending_s"), "monnify.complete_refund", refund["id"])
        else:
            end(box, refund, "COMPLETED")
    return refund


def load(box: Box, reference: str) -> Doc:
    refund = box.store.get(KIND, reference)
    if refund is None:
        raise MonnifyError("Refund not found", "R7", status=404)
    return refund


def end(box: Box, refund: Doc, status: str) -> None:
    """A refund that is completed may bounce as well."""
    if refund["status"] in ("FAILED", status):
        raise MonnifyError(f"This refund is {refund['status']}")
    refund["status"] = status
    with box.store.transaction():
        box.store.put(KIND, refund["id"], refund)
        announce(box, refund)


def public(refund: Doc) -> Doc:
    return {
        "refundReference": refund["id"],
        "transactionReference": refund["transaction"],
        "refundReason": refund["reason"],
        "customerNote": refund["note"],
        "refundAmount": naira.number(refund["amount"]),
        "refundType": "FULL_REFUND" if refund["is_full"] else "PARTIAL_REFUND",
        "refundStatus": refund["status"],
        "refundStrategy": "MERCHANT_WALLET",
        "comment": "",
        "createdOn": naira.iso(refund["created_at"]),
    }


def announce(box: Box, refund: Doc) -> list[str]:
    told = public(refund)
    kept = ("transactionReference", "refundReference", "refundAmount", "refundStatus", "customerNote", "createdOn")
    return box.webhooks.send(
        "monnify",
        "SUCCESSFUL_REFUND" if refund["status"] == "COMPLETED" else "FAILED_REFUND",
        {
            "eventType": "SUCCESSFUL_REFUND" if refund["status"] == "COMPLETED" else "FAILED_REFUND",
            "eventData": {name: told[name] for name in kept}
            | {"merchantReason": refund["reason"], "completedOn": naira.paid_on_in_webhooks(int(time.time()))},
        },
        subject=refund["id"],
        copies=magic.sending(refund["amount"]).copies,
    )


def register(box: Box) -> None:
    """Name this module's timed actions."""

    def later(status: str) -> Any:
        async def act(reference: str) -> None:
            refund = box.store.get(KIND, reference)
            if refund and refund["status"] == "PENDING":
                end(box, refund, status)

        return act

    box.agenda.actions["monnify.fail_refund"] = later("FAILED")
    box.agenda.actions["monnify.complete_refund"] = later("COMPLETED")

"""Transactions: one per payment reference, paid by one or more transfers, or not at all."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

from sandbox import magic
from sandbox.box import Box
from sandbox.monnify import naira
from sandbox.monnify.errors import MonnifyError
from sandbox.state import Doc

KIND = "monnify.transaction"
MAGIC_DECLINED, MAGIC_PENDING, MAGIC_UNDERPAID, MAGIC_OVERPAID = 1, 2, 5, 6
OPEN_FOR_S = 40 * 60
METHODS = ("ACCOUNT_TRANSFER", "CARD", "USSD", "PHONE_NUMBER")
REQUIRED = ("amount", "customerName", "customerEmail", "paymentReference", "paymentDescription", "currencyCode",
            "contractCode")  # fmt: skip


def init(box: Box, body: dict[str, Any], origin: str) -> Doc:
    """Open a transaction. A payment reference is taken once, for ever."""
    for name in REQUIRED:
        if body.get(name) in (None, ""):
            raise MonnifyError(f"{name} is required", status=400)
    for name, least in (("customerName", 3), ("paymentDescription", 3), ("contractCode", 10), ("customerEmail", 3)):
        if not isinstance(body[name], str) or len(body[name]) < least:
            raise MonnifyError(f"{name} must have at least {least} characters", status=400)
    if body["currencyCode"] != "NGN":
        raise MonnifyError("Only NGN is supported", status=400)
    if body["contractCode"] != box.settings.monnify_contract_code:
        raise MonnifyError("Could not find specified contract", status=404)
    amount = naira.kobo(body["amount"], "amount")
    if amount < 2_000:
        raise MonnifyError("amount must be at least 20.00", status=400)
    reference = str(body["paymentReference"])
    methods = body.get("paymentMethods") or ["ACCOUNT_TRANSFER", "CARD"]
    if not isinstance(methods, list) or any(method not in METHODS for method in methods):
        raise MonnifyError("paymentMethods is invalid", status=400)
    if box.store.get("monnify.reference", reference):
        raise MonnifyError("Duplicate payment reference", status=422)
    now = int(time.time())
    stamp = time.strftime("%Y%m%d%H%M%S", time.gmtime(now + naira.LAGOS_S))
    doc: Doc = {
        "id": f"MNFY|65|{stamp}|{box.store.count(KIND) + 1:06d}",
        "reference": reference,
        "amount": amount,
        "paid": 0,
        "transfers": [],
        "status": "PENDING",
        "method": None,
        "description": body["paymentDescription"],
        "customer": {"name": body["customerName"], "email": body["customerEmail"]},
        "redirect_url": body.get("redirectUrl"),
        "methods": methods,
        "meta": body.get("metaData") or {},
        "paid_at": None,
        "created_at": now,
    }
    doc["url"] = f"{origin}/monnify/checkout/{quote(doc['id'], safe='')}"
    with box.store.transaction():
        save(box, doc)
        box.store.put("monnify.reference", reference, {"id": doc["id"]})
        box.agenda.after(OPEN_FOR_S, "monnify.expire", doc["id"])
    return doc


def save(box: Box, doc: Doc) -> None:
    box.store.put(KIND, doc["id"], doc)


def load(box: Box, reference: str) -> Doc:
    doc = box.store.get(KIND, reference)
    if doc is None:
        raise MonnifyError(f"Could not find transaction with transaction reference {reference}", status=404)
    return doc


def load_by_ours(box: Box, reference: str) -> Doc:
    named = box.store.get("monnify.reference", reference)
    if named is None:
        raise MonnifyError(f"Could not find transaction with payment reference {reference}", status=404)
    return load(box, named["id"])


def opened(doc: Doc, api_key: str) -> Doc:
    """What init-transaction answers."""
    return {
        "transactionReference": doc["id"],
        "paymentReference": doc["reference"],
        "merchantName": "Sandbox",
        "apiKey": api_key,
        "redirectUrl": doc["redirect_url"],
        "enabledPaymentMethod": doc["methods"],
        "checkoutUrl": doc["url"],
    }


def queried(doc: Doc) -> Doc:
    """What a query answers: amounts are strings."""
    return {
        "transactionReference": doc["id"],
        "paymentReference": doc["reference"],
        "amountPaid": naira.text(doc["paid"]),
        "totalPayable": naira.text(doc["amount"]),
        "settlementAmount": naira.text(doc["paid"] * 985 // 1000),
        "paidOn": naira.paid_on_in_queries(doc["paid_at"]) if doc["paid_at"] else None,
        "paymentStatus": doc["status"],
        "paymentDescription": doc["description"],
        "currency": "NGN",
        "paymentMethod": doc["method"],
        "product": {"type": "WEB_SDK", "reference": doc["reference"]},
        "cardDetails": None,
        "accountDetails": None,
        "accountPayments": [{"amountPaid": naira.text(amount)} for amount in doc["transfers"]],
        "customer": doc["customer"],
        "metaData": doc["meta"],
    }


def listed(doc: Doc) -> Doc:
    """An item of the search."""
    return {
        "transactionReference": doc["id"],
        "paymentReference": doc["reference"],
        "amount": naira.number(doc["amount"]),
        "payableAmount": naira.number(doc["amount"]),
        "amountPaid": naira.number(doc["paid"]),
        "currencyCode": "NGN",
        "paymentStatus": doc["status"],
        "paymentMethod": doc["method"],
        "paymentDescription": doc["description"],
        "createdOn": naira.iso(doc["created_at"]),
        "completedOn": naira.iso(doc["paid_at"]) if doc["paid_at"] else None,
        "completed": doc["paid_at"] is not None,
        "customerDTO": doc["customer"],
    }


def pay(box: Box, doc: Doc, amount: int | None = None, method: str = "ACCOUNT_TRANSFER") -> list[str]:
    """The customer's money arrives, in the amount asked for unless told or magic."""
    if method not in METHODS:
        raise MonnifyError("The payment method is not supported")
    rest = max(0, doc["amount"] - doc["paid"])
    given = amount if amount is not None else _amount_paid(doc["amount"]) if not doc["paid"] else rest or doc["amount"]
    now = int(time.time())
    doc |= {"method": method, "paid": doc["paid"] + given, "paid_at": now, "transfers": [*doc["transfers"], given]}
    is_short, is_over = doc["paid"] < doc["amount"], doc["paid"] > doc["amount"]
    doc["status"] = "PARTIALLY_PAID" if is_short else "OVERPAID" if is_over else "PAID"
    with box.store.transaction():
        save(box, doc)
        return announce(box, "SUCCESSFUL_TRANSACTION", doc)


def _amount_paid(amount: int) -> int:
    if amount % 100 == MAGIC_UNDERPAID:
        return amount - 100
    return amount + 100 if amount % 100 == MAGIC_OVERPAID else amount


def end(box: Box, doc: Doc, status: str) -> None:
    """FAILED, CANCELLED, EXPIRED, ABANDONED: of these Monnify tells nobody."""
    if doc["status"] not in ("PENDING", "FAILED"):
        raise MonnifyError(f"This transaction is {doc['status']}")
    doc["status"] = status
    save(box, doc)


def reverse(box: Box, doc: Doc) -> list[str]:
    """The bank takes the money back."""
    if not doc["paid"]:
        raise MonnifyError("Nothing was paid")
    doc["status"] = "REVERSED"
    with box.store.transaction():
        save(box, doc)
        return announce(box, "REVERSED_TRANSACTION", doc)


def announce(box: Box, event: str, doc: Doc) -> list[str]:
    """Queue a webhook. The body is the compact JSON that Monnify signs; lists and objects trade places as with them."""
    return box.webhooks.send(
        "monnify",
        event,
        {
            "eventType": event,
            "eventData": {
                "product": {"reference": doc["reference"], "type": "WEB_SDK"},
                "transactionReference": doc["id"],
                "paymentReference": doc["reference"],
                "paidOn": naira.paid_on_in_webhooks(doc["paid_at"]),
                "paymentDescription": doc["description"],
                "metaData": doc["meta"],
                "paymentSourceInformation": [] if doc["method"] == "CARD" else [{"amountPaid": doc["paid"] / 100}],
                "destinationAccountInformation": {},
                "amountPaid": naira.number(doc["paid"]),
                "totalPayable": naira.number(doc["amount"]),
                "cardDetails": {},
                "paymentMethod": doc["method"],
                "currency": "NGN",
                "settlementAmount": naira.text(doc["paid"] * 985 // 1000),
                "paymentStatus": doc["status"],
                "customer": doc["customer"],
            },
        },
        subject=doc["id"],
        copies=magic.sending(doc["amount"]).copies,
    )


def register(box: Box) -> None:
    """Name this module's timed actions."""

    async def expire(reference: str) -> None:
        doc = box.store.get(KIND, reference)
        if doc and doc["status"] == "PENDING":
            end(box, doc, "EXPIRED")

    async def complete(reference: str) -> None:
        doc = box.store.get(KIND, reference)
        if doc and not doc["paid"]:
            pay(box, doc)

    box.agenda.actions["monnify.expire"] = expire
    box.agenda.actions["monnify.complete"] = complete

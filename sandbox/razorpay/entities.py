"""What Razorpay's objects have in common: their outer form, their collections and their webhook events."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from sandbox import magic
from sandbox.box import Box
from sandbox.razorpay.errors import RazorpayError, unknown_id
from sandbox.state import Doc

ACCOUNT_ID = "acc_SandboxAccount"
KINDS = {"order": "razorpay.order", "payment": "razorpay.payment", "refund": "razorpay.refund",
         "dispute": "razorpay.dispute"}  # fmt: skip


def public(doc: Doc) -> Doc:
    """The object as the API shows it: keys with an underscore are the sandbox's own notes."""
    return {key: value for key, value in doc.items() if not key.startswith("_")}


def load(box: Box, entity: str, id: str) -> Doc:
    doc = box.store.get(KINDS[entity], id)
    if doc is None:
        raise unknown_id()
    return doc


def save(box: Box, doc: Doc, *, parent: str | None = None) -> None:
    box.store.put(KINDS[doc["entity"]], doc["id"], doc, parent=parent)


def collection(docs: list[Doc]) -> Doc:
    return {"entity": "collection", "count": len(docs), "items": [public(doc) for doc in docs]}


def listed(box: Box, entity: str, query: Mapping[str, str], *, parent: str | None = None) -> Doc:
    """A list as the API gives it: newest first, `from` and `to` inclusive on created_at, 10 unless told."""
    unknown = sorted(set(query) - {"from", "to", "count", "skip", "expand[]"})
    if unknown:
        raise RazorpayError(f"{', '.join(unknown)} is/are not required and should not be sent", unknown[0])
    numbers = {name: _number(query, name) for name in ("from", "to", "count", "skip")}
    count = 10 if numbers["count"] is None else numbers["count"]
    if not 1 <= count <= 100:
        raise RazorpayError("The count must be between 1 and 100.", "count")
    return collection(
        box.store.find(
            KINDS[entity], parent=parent, since=numbers["from"], until=numbers["to"], limit=count,
            skip=numbers["skip"] or 0,
        )
    )  # fmt: skip


def _number(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,12}", text):
        raise RazorpayError(f"The {name} must be an integer.", name)
    return int(text)


def notes_of(value: Any) -> Any:
    """Check notes. Razorpay shows empty notes as a list and filled ones as an object."""
    if value in (None, [], {}):
        return []
    if not isinstance(value, dict):
        raise RazorpayError("notes must be an array", "notes")
    if len(value) > 15:
        raise RazorpayError("The maximum number of fields allowed in notes is 15.", "notes")
    for key, text in value.items():
        if not isinstance(text, str | int | float | bool) or len(str(text)) > 256 or len(key) > 256:
            raise RazorpayError("notes may hold 256 characters a key at most.", "notes")
    return value


def refuse_unknown(body: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(set(body) - known)
    if unknown:
        raise RazorpayError(f"{', '.join(unknown)} is/are not required and should not be sent", unknown[0])


def announce(box: Box, event: str, *docs: Doc) -> list[str]:
    """Queue a webhook about the first object; the payload is a snapshot of now. The object's amount may be magic."""
    subject = docs[0]
    return box.webhooks.send(
        "razorpay",
        event,
        {
            "entity": "event",
            "account_id": ACCOUNT_ID,
            "event": event,
            "contains": [doc["entity"] for doc in docs],
            "payload": {doc["entity"]: {"entity": public(doc)} for doc in docs},
            "created_at": int(time.time()),
        },
        subject=subject["id"],
        copies=magic.sending(subject["amount"]).copies,
    )

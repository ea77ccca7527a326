"""What Stripe's objects have in common: how they are kept, shown, listed, expanded and told of."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from sandbox import magic
from sandbox.box import Box
from sandbox.state import Doc
from sandbox.stripe import forms
from sandbox.stripe.errors import StripeError, unknown_id
from sandbox.tokens import new_id

VERSION = "2026-10-28.endive"
# The first part of an id: Stripe tells kinds apart by it too.
PREFIXES = {
    "payment_intent": "pi_",
    "payment_method": "pm_",
    "charge": "ch_",
    "refund": "re_",
    "dispute": "du_",
    "checkout.session": "cs_test_",
    "customer": "cus_",
    "balance_transaction": "txn_",
    "event": "evt_",
    "product": "prod_",
    "price": "price_",
    "subscription": "sub_",
    "invoice": "in_",
    "invoice_payment": "inpay_",
    "billing_portal.session": "bps_",
}
# Where an id names another object, for `expand`.
LINKS = {
    "payment_intent": "payment_intent",
    "latest_charge": "charge",
    "charge": "charge",
    "customer": "customer",
    "payment_method": "payment_method",
    "balance_transaction": "balance_transaction",
    "latest_invoice": "invoice",
    "product": "product",
}


def now() -> int:
    return int(time.time())


def made(kind: str, **fields: Any) -> Doc:
    """A new object with what all of them have."""
    length = 58 if kind == "checkout.session" else 24
    doc: Doc = {"id": new_id(PREFIXES[kind], length), "object": kind, "created": now(), "livemode": False}
    return doc | fields


def public(doc: Doc) -> Doc:
    """The object as the API shows it: keys with an underscore are the sandbox's own notes."""
    return {key: value for key, value in doc.items() if not key.startswith("_")}


def find(box: Box, kind: str, id: Any) -> Doc | None:
    return box.store.get(f"stripe.{kind}", id) if isinstance(id, str) else None


def load(box: Box, kind: str, id: str, *, param: str = "id", status: int = 404) -> Doc:
    """Raises: StripeError; 404 in a path, 400 in a parameter."""
    doc = find(box, kind, id)
    if doc is None:
        raise unknown_id(kind, id, param, status)
    return doc


def save(box: Box, doc: Doc, *, parent: str | None = None) -> None:
    box.store.put(f"stripe.{doc['object']}", doc["id"], doc, parent=parent)


def every(box: Box, kind: str, *, parent: str | None = None) -> list[Doc]:
    """Newest first."""
    return box.store.find(f"stripe.{kind}", parent=parent)


def listed(box: Box, kind: str, params: Mapping[str, Any], *, url: str, by: tuple[str, ...] = ()) -> Doc:
    """A list as the API gives it: newest first, 10 unless told, a window on `created`, paged by ids.

    `by` names the fields that narrow it.
    """
    forms.refuse_unknown(dict(params), {"created", "limit", "starting_after", "ending_before", *by})
    limit = forms.whole(dict(params), "limit", 10)
    if not 1 <= limit <= 100:
        raise StripeError("This value must be between 1 and 100.", "limit", "parameter_invalid_integer")
    window = _window(params.get("created"))
    wanted = {name: params[name] for name in by if params.get(name, "all") != "all"}
    found = [
        doc
        for doc in every(box, kind)
        if all(test(doc["created"]) for test in window) and all(doc.get(name) == wanted[name] for name in wanted)
    ]
    ids = [doc["id"] for doc in found]
    for name in ("starting_after", "ending_before"):
        if name in params and params[name] not in ids:
            raise unknown_id(kind, str(params[name]), name, 400)
    if "starting_after" in params:
        found = found[ids.index(params["starting_after"]) + 1 :]
    elif "ending_before" in params:
        found = found[: ids.index(params["ending_before"])][-limit:]
    return {
        "object": "list",
        "url": url,
        "has_more": len(found) > limit,
        "data": [shown(box, doc, [path.removeprefix("data.") for path in expands(params)]) for doc in found[:limit]],
    }


def _window(given: Any) -> list[Any]:
    if given is None:
        return []
    if not isinstance(given, dict):
        exact = forms.whole({"created": given}, "created")
        return [lambda at: at == exact]
    forms.refuse_unknown(given, {"gt", "gte", "lt", "lte"}, "created")
    tests = {
        "gt": lambda limit: lambda at: at > limit,
        "gte": lambda limit: lambda at: at >= limit,
        "lt": lambda limit: lambda at: at < limit,
        "lte": lambda limit: lambda at: at <= limit,
    }
    return [tests[name](forms.whole(given, name)) for name in given]


def expands(params: Mapping[str, Any]) -> list[str]:
    given = params.get("expand") or []
    if not isinstance(given, list) or not all(isinstance(path, str) for path in given):
        raise StripeError("Invalid array", "expand")
    return given


def shown(box: Box, doc: Doc, paths: list[str]) -> Doc:
    """The public object, with what `expand` names in the place of its id."""
    if doc["object"] == "invoice":
        from sandbox.stripe import invoices

        return invoices.view(box, doc, paths)
    view = public(doc)
    for path in paths:
        name = path.partition(".")[0]
        if name not in view:
            raise StripeError(f"This property cannot be expanded ({path}).", "expand", "property_cannot_be_expanded")
        id = view[name] if isinstance(view[name], str) else (view[name] or {}).get("id")
        linked = find(box, LINKS.get(name, ""), id)
        if linked is not None:
            inner = [other.partition(".")[2] for other in paths if other.startswith(f"{name}.")]
            view[name] = shown(box, linked, inner)
    return view


def announce(box: Box, event: str, doc: Doc, *, amount: int, previous: Doc | None = None) -> list[str]:
    """Note an event and queue its webhook; the object in it is a snapshot of now. `amount` may be magic."""
    data: Doc = {"object": public(doc)}
    if previous:
        data["previous_attributes"] = previous
    noted = made(
        "event",
        api_version=VERSION,
        type=event,
        data=data,
        pending_webhooks=1,
        request={"id": None, "idempotency_key": None},
    )
    save(box, noted)
    return box.webhooks.send("stripe", event, noted, subject=doc["id"], copies=magic.sending(amount).copies)

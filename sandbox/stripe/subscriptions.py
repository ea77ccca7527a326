"""Subscriptions and their clock: what Stripe does by itself at the end of a period happens on the dashboard's word.

A renewal's invoice is a draft for an hour of the sandbox's clock, as Stripe's is for about that long.
"""

from __future__ import annotations

import calendar
from datetime import UTC, datetime
from typing import Any

from sandbox.box import Box
from sandbox.state import Doc
from sandbox.stripe import forms, invoices, methods, objects
from sandbox.stripe.errors import StripeError, missing
from sandbox.tokens import new_id

LIVE = ("incomplete", "trialing", "active", "past_due", "unpaid")
CREATE = {"customer", "items", "metadata", "payment_behavior", "payment_settings", "description"}
DRAFT_S = 3600
UPDATE = {"items", "metadata", "cancel_at_period_end", "proration_behavior", "payment_behavior", "proration_date"}
ACTS = ("renew", "fail", "finalize", "retry", "give-up", "unpaid", "lapse")


def create(box: Box, params: dict[str, Any]) -> Doc:
    """`default_incomplete`: the first invoice waits for the customer. Raises: StripeError."""
    forms.refuse_unknown(params, CREATE)
    customer = forms.required(params, "customer")
    objects.load(box, "customer", customer, param="customer", status=400)
    forms.among(params, "payment_behavior", ("default_incomplete",), "default_incomplete")
    items = params.get("items")
    if not isinstance(items, list) or len(items) != 1:
        raise missing("items")
    price = objects.load(box, "price", forms.required(items[0], "price"), param="items[0][price]", status=400)
    now = objects.now()
    subscription = objects.made(
        "subscription",
        billing_cycle_anchor=now,
        billing_mode={"type": "flexible"},
        cancel_at=None,
        cancel_at_period_end=False,
        canceled_at=None,
        collection_method="charge_automatically",
        currency=price["currency"],
        customer=customer,
        default_payment_method=None,
        description=forms.text(params, "description"),
        ended_at=None,
        items={"object": "list", "has_more": False, "url": "/v1/subscription_items", "data": []},
        latest_invoice=None,
        metadata=forms.metadata(params),
        start_date=now,
        status="incomplete",
        trial_end=None,
    )
    subscription["items"]["data"] = [
        {
            "id": new_id("si_"),
            "object": "subscription_item",
            "created": now,
            "current_period_start": now,
            "current_period_end": later(now, price),
            "metadata": {},
            "price": objects.public(price),
            "quantity": 1,
            "subscription": subscription["id"],
        }
    ]
    with box.store.transaction():
        objects.save(box, subscription)
        invoices.create(box, subscription, "subscription_create", [invoices.line(subscription, price)])
        announce(box, "created", subscription)
    return subscription


def later(at: int, price: Doc) -> int:
    """One interval on, by the calendar."""
    if price["recurring"]["interval"] == "day":
        return at + 86_400
    if price["recurring"]["interval"] == "week":
        return at + 7 * 86_400
    day = datetime.fromtimestamp(at, UTC)
    months = 12 if price["recurring"]["interval"] == "year" else 1
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return int(day.replace(year=year, month=month + 1, day=min(day.day, last)).timestamp())


def item_of(subscription: Doc) -> Doc:
    item: Doc = subscription["items"]["data"][0]
    return item


def paid(box: Box, invoice: Doc, method: str | None) -> None:
    """An invoice of it was paid: it lives, and the card is kept for the next."""
    subscription = objects.load(box, "subscription", invoice["_subscription"])
    was = subscription["status"]
    if method:
        subscription["default_payment_method"] = method
    if was in ("incomplete", "past_due", "unpaid"):
        subscription["status"] = "active"
    objects.save(box, subscription)
    if was != subscription["status"]:
        announce(box, "updated", subscription, {"status": was})


def edit(box: Box, subscription: Doc, params: dict[str, Any]) -> Doc:
    """Change the price, with proration at once or without, or end it with the period. Raises: StripeError."""
    forms.refuse_unknown(params, UPDATE)
    if subscription["status"] not in LIVE:
        raise StripeError("A canceled subscription can only update its cancellation_details.", code="resource_missing")
    previous: Doc = {}
    if "cancel_at_period_end" in params:
        previous["cancel_at_period_end"] = subscription["cancel_at_period_end"]
        ends = forms.flag(params, "cancel_at_period_end")
        subscription |= {
            "cancel_at_period_end": ends,
            "cancel_at": item_of(subscription)["current_period_end"] if ends else None,
            "canceled_at": objects.now() if ends else None,
        }
    subscription["metadata"] |= forms.metadata(params)
    with box.store.transaction():
        if "items" in params:
            previous["items"] = _change(box, subscription, params)
        objects.save(box, subscription)
        announce(box, "updated", subscription, previous)
    return subscription


def _change(box: Box, subscription: Doc, params: dict[str, Any]) -> Doc:
    [asked] = params["items"] if isinstance(params["items"], list) and len(params["items"]) == 1 else [{}]
    item = item_of(subscription)
    if asked.get("id") != item["id"]:
        raise StripeError("The sandbox keeps one item on a subscription: name its id.", "items[0][id]")
    old, new = (
        item["price"],
        objects.load(box, "price", forms.required(asked, "price"), param="items[0][price]", status=400),
    )
    how = forms.among(
        params, "proration_behavior", ("create_prorations", "always_invoice", "none"), "create_prorations"
    )
    at = forms.whole(params, "proration_date", objects.now())
    was = dict(item)
    item["price"] = objects.public(new)
    objects.save(box, subscription)
    if how != "none":
        start, end = item["current_period_start"], item["current_period_end"]
        left = max(0, min(end - at, end - start))
        lines = [
            invoices.line(subscription, old, -(old["unit_amount"] * left // (end - start)), at, is_proration=True),
            invoices.line(subscription, new, new["unit_amount"] * left // (end - start), at, is_proration=True),
        ]
        invoice = invoices.create(box, subscription, "subscription_update", lines)
        method = objects.find(box, "payment_method", subscription["default_payment_method"])
        if not invoices.charge(box, invoice, method) and params.get("payment_behavior") == "error_if_incomplete":
            item |= was
            objects.save(box, subscription)
            invoices.void(box, invoice)
            raise StripeError("Your card was declined.", code="card_declined", type="card_error", status=402)
        subscription |= objects.load(box, "subscription", subscription["id"]) | {"items": subscription["items"]}
    return was


def end(box: Box, subscription: Doc, status: str = "canceled") -> Doc:
    if subscription["status"] in ("canceled", "incomplete_expired"):
        raise StripeError(f"No such subscription: '{subscription['id']}'", "id", "resource_missing", status=404)
    now = objects.now()
    subscription |= {"status": status, "ended_at": now, "canceled_at": subscription["canceled_at"] or now}
    with box.store.transaction():
        objects.save(box, subscription)
        for invoice in objects.every(box, "invoice", parent=subscription["id"]):
            if invoice["status"] in ("draft", "open"):
                invoices.void(box, invoice)
        announce(box, "deleted" if status == "canceled" else "updated", subscription)
    return subscription


def tick(box: Box, subscription: Doc, act: str) -> Doc:
    """Move its clock: `renew` to the end of the period, where the card will pay, `fail` where it will not; `finalize`
    a renewal's draft an hour later; `retry` the open invoice; `give-up` dunning, or leave it `unpaid`; `lapse` a first
    invoice that nobody paid. Raises: StripeError."""
    if subscription["status"] not in LIVE:
        raise StripeError(f"This subscription is {subscription['status']}")
    if act == "lapse":
        if subscription["status"] != "incomplete":
            raise StripeError("Only an incomplete subscription lapses")
        return end(box, subscription, "incomplete_expired")
    if act == "give-up":
        return end(box, subscription)
    if act == "unpaid":
        objects.save(box, subscription | {"status": "unpaid"})
        announce(box, "updated", subscription | {"status": "unpaid"}, {"status": subscription["status"]})
        return subscription | {"status": "unpaid"}
    method = objects.find(box, "payment_method", subscription["default_payment_method"])
    if act in ("retry", "finalize"):
        wanted = "open" if act == "retry" else "draft"
        waiting = [doc for doc in objects.every(box, "invoice", parent=subscription["id"]) if doc["status"] == wanted]
        if not waiting:
            raise StripeError("No invoice is open" if act == "retry" else "No invoice is a draft")
        if act == "retry":
            invoices.charge(box, waiting[0], method)
        else:
            finalize(box, waiting[-1])
        return objects.load(box, "subscription", subscription["id"])
    if subscription["status"] != "active":
        raise StripeError("Only an active subscription reaches the end of its period")
    if subscription["cancel_at_period_end"]:
        return end(box, subscription)
    item = item_of(subscription)
    start = item["current_period_end"]
    item |= {"current_period_start": start, "current_period_end": later(start, item["price"])}
    with box.store.transaction():
        objects.save(box, subscription)
        invoice = invoices.draft(
            box, subscription, "subscription_cycle", [invoices.line(subscription, item["price"])],
            is_declined=act == "fail",
        )  # fmt: skip
        announce(box, "updated", subscription)
    box.agenda.after(DRAFT_S, "stripe.finalize_invoice", invoice["id"])
    return objects.load(box, "subscription", subscription["id"])


def finalize(box: Box, invoice: Doc) -> None:
    """The hour of a renewal's draft is over: the card on file is asked to pay. Quiet when that has happened."""
    if invoice["status"] != "draft":
        return
    subscription = objects.load(box, "subscription", invoice["_subscription"])
    method = objects.find(box, "payment_method", subscription["default_payment_method"])
    with box.store.transaction():
        invoice = invoices.finalize(box, invoice)
        if not invoices.charge(box, invoice, None if invoice["_is_declined"] else method):
            subscription = objects.load(box, "subscription", subscription["id"])
            objects.save(box, subscription | {"status": "past_due"})
            announce(box, "updated", subscription | {"status": "past_due"}, {"status": "active"})


def register(box: Box) -> None:
    async def finalize_later(invoice_id: str) -> None:
        invoice = objects.find(box, "invoice", invoice_id)
        if invoice:
            finalize(box, invoice)

    box.agenda.actions["stripe.finalize_invoice"] = finalize_later


def set_card(box: Box, subscription: Doc, name: str) -> Doc:
    """What the customer does in the portal: another card."""
    subscription["default_payment_method"] = methods.named(box, name)["id"]
    objects.save(box, subscription)
    return subscription


def announce(box: Box, event: str, subscription: Doc, previous: Doc | None = None) -> list[str]:
    amount = item_of(subscription)["price"]["unit_amount"]
    return objects.announce(box, f"customer.subscription.{event}", subscription, amount=amount, previous=previous)

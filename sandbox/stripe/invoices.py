"""Invoices of subscriptions, and what pays them."""

from __future__ import annotations

from sandbox.box import Box
from sandbox.state import Doc
from sandbox.stripe import cards, intents, methods, objects
from sandbox.stripe.errors import StripeError
from sandbox.tokens import new_id


def line(
    subscription: Doc, price: Doc, amount: int | None = None, start: int | None = None, *, is_proration: bool = False
) -> Doc:
    """One line for the current period; a proration for what is left of it."""
    item = subscription["items"]["data"][0]
    details = {
        "invoice_item": None,
        "proration": is_proration,
        "subscription": subscription["id"],
        "subscription_item": item["id"],
    }
    return {
        "id": new_id("il_"),
        "object": "line_item",
        "amount": price["unit_amount"] if amount is None else amount,
        "currency": price["currency"],
        "description": None,
        "metadata": dict(subscription["metadata"]),
        "parent": {"type": "subscription_item_details", "subscription_item_details": details},
        "period": {"start": start or item["current_period_start"], "end": item["current_period_end"]},
        "pricing": {
            "type": "price_details",
            "price_details": {"price": price["id"], "product": price["product"]},
            "unit_amount_decimal": str(price["unit_amount"]),
        },
        "quantity": 1,
    }


def create(box: Box, subscription: Doc, reason: str, lines: list[Doc]) -> Doc:
    """Draft and finalise: it is open, with an intent that pays it."""
    return finalize(box, draft(box, subscription, reason, lines))


def draft(box: Box, subscription: Doc, reason: str, lines: list[Doc], *, is_declined: bool = False) -> Doc:
    """Not to be paid yet, and with no intent; `is_declined` says what the card will do when it is."""
    total = sum(one["amount"] for one in lines)
    due = max(0, total)
    invoice = objects.made(
        "invoice",
        amount_due=due,
        amount_paid=0,
        amount_remaining=due,
        attempt_count=0,
        billing_reason=reason,
        collection_method="charge_automatically",
        currency=subscription["currency"],
        customer=subscription["customer"],
        lines={"object": "list", "has_more": False, "url": "/v1/invoices/lines", "data": lines},
        metadata={},
        next_payment_attempt=None,
        parent={
            "type": "subscription_details",
            "quote_details": None,
            "subscription_details": {
                "metadata": dict(subscription["metadata"]),
                "subscription": subscription["id"],
            },
        },
        period_start=subscription["items"]["data"][0]["current_period_start"],
        period_end=subscription["items"]["data"][0]["current_period_end"],
        status="draft",
        status_transitions={"finalized_at": None, "paid_at": None, "voided_at": None},
        total=total,
        _subscription=subscription["id"],
        _intent=None,
        _is_declined=is_declined,
    )
    subscription["latest_invoice"] = invoice["id"]
    objects.save(box, subscription)
    objects.save(box, invoice, parent=subscription["id"])
    announce(box, "created", invoice)
    return invoice


def finalize(box: Box, invoice: Doc) -> Doc:
    """Open it for payment; one over nothing is paid."""
    due = invoice["amount_due"]
    invoice |= {"status": "open"}
    invoice["status_transitions"]["finalized_at"] = objects.now()
    if due:
        intent = intents.make(
            box, amount=due, currency=invoice["currency"], customer=invoice["customer"], metadata={},
            description="Subscription", invoice=invoice["id"],
        )  # fmt: skip
        invoice["_intent"] = intent["id"]
        payment = objects.made(
            "invoice_payment", amount_requested=due, amount_paid=None, currency=invoice["currency"],
            invoice=invoice["id"], is_default=True, status="open",
            payment={"type": "payment_intent", "payment_intent": intent["id"]},
        )  # fmt: skip
        objects.save(box, payment, parent=invoice["id"])
    objects.save(box, invoice)
    announce(box, "finalized", invoice)
    if not due:
        settle(box, invoice, None)
    return invoice


def charge(box: Box, invoice: Doc, method: Doc | None) -> bool:
    """Try the card on file. Returns whether it is paid."""
    invoice = objects.load(box, "invoice", invoice["id"])
    if invoice["status"] == "paid":
        return True
    invoice["attempt_count"] += 1
    objects.save(box, invoice)
    intent = objects.load(box, "payment_intent", invoice["_intent"])
    try:
        if method is None:
            intents.pay(box, intent, cards.CARDS["4000000000000002"], off_session=True)
        else:
            intents.pay(box, intent, methods.card_of(method), method=method, off_session=True)
    except StripeError:
        announce(box, "payment_failed", objects.load(box, "invoice", invoice["id"]))
        return False
    return bool(objects.load(box, "invoice", invoice["id"])["status"] == "paid")


def follow(box: Box, intent: Doc) -> list[str]:
    """Its intent was paid: so is the invoice."""
    if intent["status"] != "succeeded":
        return []
    return settle(box, objects.load(box, "invoice", intent["_invoice"]), intent["payment_method"])


def settle(box: Box, invoice: Doc, method: str | None) -> list[str]:
    from sandbox.stripe import subscriptions

    invoice |= {"status": "paid", "amount_paid": invoice["amount_due"], "amount_remaining": 0}
    invoice["status_transitions"]["paid_at"] = objects.now()
    with box.store.transaction():
        objects.save(box, invoice)
        for payment in objects.every(box, "invoice_payment", parent=invoice["id"]):
            objects.save(box, payment | {"status": "paid", "amount_paid": invoice["amount_due"]})
        subscriptions.paid(box, invoice, method)
        return [*announce(box, "paid", invoice), *announce(box, "payment_succeeded", invoice)]


def void(box: Box, invoice: Doc) -> None:
    invoice |= {"status": "void"}
    invoice["status_transitions"]["voided_at"] = objects.now()
    with box.store.transaction():
        objects.save(box, invoice)
        intent = objects.find(box, "payment_intent", invoice["_intent"])
        if intent and intent["status"] in intents.CANCELABLE:
            intents.end(box, intent, "void_invoice")
        announce(box, "voided", invoice)


def view(box: Box, invoice: Doc, paths: list[str]) -> Doc:
    """With `payments` and `confirmation_secret` where they are asked for."""
    shown = objects.public(invoice)
    for path in paths:
        name = path.partition(".")[0]
        if name == "payments":
            found = [objects.public(doc) for doc in objects.every(box, "invoice_payment", parent=invoice["id"])]
            shown["payments"] = {"object": "list", "has_more": False, "url": "/v1/invoice_payments", "data": found}
        elif name == "confirmation_secret":
            intent = objects.find(box, "payment_intent", invoice["_intent"])
            secret = {"type": "payment_intent", "client_secret": intent["client_secret"]} if intent else None
            shown["confirmation_secret"] = secret
        else:
            raise StripeError(f"This property cannot be expanded ({path}).", "expand", "property_cannot_be_expanded")
    return shown


def announce(box: Box, event: str, invoice: Doc) -> list[str]:
    return objects.announce(box, f"invoice.{event}", invoice, amount=invoice["amount_due"])

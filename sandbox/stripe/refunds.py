"""Refunds: full and partial, at once or later, failing or not."""

from __future__ import annotations

from typing import Any

from sandbox import magic
from sandbox.box import Box
from sandbox.state import Doc
from sandbox.stripe import balance, disputes, forms, objects
from sandbox.stripe.errors import StripeError, missing

FIELDS = {"amount", "charge", "metadata", "payment_intent", "reason"}
REASONS = ("duplicate", "fraudulent", "requested_by_customer")
MAGIC_FAILS, MAGIC_PENDING = 1, 2


def create_by_api(box: Box, params: dict[str, Any]) -> tuple[Doc, list[str]]:
    """Raises: StripeError."""
    forms.refuse_unknown(params, FIELDS)
    if params.get("charge"):
        charge = objects.load(box, "charge", forms.required(params, "charge"), param="charge", status=400)
    elif params.get("payment_intent"):
        intent = objects.load(
            box, "payment_intent", forms.required(params, "payment_intent"), param="payment_intent", status=400
        )
        if not intent["latest_charge"] or intent["status"] != "succeeded":
            raise StripeError(
                f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund.", "payment_intent"
            )
        charge = objects.load(box, "charge", intent["latest_charge"])
    else:
        raise missing("charge")
    amount = forms.amount(params) if "amount" in params else None
    return create(
        box, charge, amount=amount, reason=forms.among(params, "reason", REASONS), metadata=forms.metadata(params)
    )


def create(
    box: Box, charge: Doc, *, amount: int | None, reason: str | None = None, metadata: dict[str, str] | None = None
) -> tuple[Doc, list[str]]:
    """Give money back: at once, as card refunds in test mode, unless the amount is magic."""
    rest = charge["amount_captured"] - charge["amount_refunded"]
    if not charge["captured"]:
        raise StripeError(f"Charge {charge['id']} has not been captured.", code="charge_not_refundable")
    if disputes.blocks(box, charge):
        raise StripeError(f"Charge {charge['id']} has been charged back; cannot issue a refund.",
                          code="charge_disputed")  # fmt: skip
    if not rest:
        raise StripeError(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    amount = rest if amount is None else amount
    if amount > rest:
        raise StripeError(
            f"Refund amount ({amount}) is greater than unrefunded amount on charge ({rest})", "amount"
        )  # fmt: skip
    is_later = amount % 100 in (MAGIC_FAILS, MAGIC_PENDING)
    refund = objects.made(
        "refund",
        amount=amount,
        balance_transaction=None,
        charge=charge["id"],
        currency=charge["currency"],
        destination_details={"card": {"type": "pending" if is_later else "refund"}, "type": "card"},
        failure_reason=None,
        metadata=metadata or {},
        payment_intent=charge["payment_intent"],
        reason=reason,
        receipt_number=None,
        status="pending" if is_later else "succeeded",
    )
    with box.store.transaction():
        refund["balance_transaction"] = balance.move(box, refund, -amount, "refund")["id"]
        objects.save(box, refund, parent=charge["id"])
        _count(box, charge, amount)
        sent = announce(box, "refund.created", refund)
        sent += objects.announce(box, "charge.refunded", charge, amount=refund["amount"])
        if amount % 100 == MAGIC_FAILS:
            box.agenda.after(box.tuned("speed_s"), "stripe.fail_refund", refund["id"])
        elif is_later:
            box.agenda.after(box.tuned("pending_s"), "stripe.pay_refund", refund["id"])
    return refund, sent


def succeed(box: Box, refund: Doc) -> Doc:
    if refund["status"] != "pending":
        raise StripeError(f"This refund is {refund['status']}")
    refund["status"] = "succeeded"
    with box.store.transaction():
        objects.save(box, refund)
        announce(box, "refund.updated", refund)
    return refund


def fail(box: Box, refund: Doc) -> Doc:
    """The bank did not take it: the money is back with the merchant. One that had succeeded may bounce as well."""
    if refund["status"] in ("failed", "canceled"):
        raise StripeError(f"This refund is {refund['status']}")
    refund |= {"status": "failed", "failure_reason": "lost_or_stolen_card"}
    with box.store.transaction():
        balance.move(box, refund, refund["amount"], "refund_failure")
        objects.save(box, refund)
        _count(box, objects.load(box, "charge", refund["charge"]), -refund["amount"])
        announce(box, "refund.updated", refund)
        announce(box, "refund.failed", refund)
    return refund


def _count(box: Box, charge: Doc, amount: int) -> None:
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount_captured"]
    objects.save(box, charge)


def announce(box: Box, event: str, refund: Doc) -> list[str]:
    return objects.announce(box, event, refund, amount=refund["amount"])


def is_first(refund: Doc) -> bool:
    return magic.sending(refund["amount"]).is_first


def register(box: Box) -> None:
    """Name this module's timed actions."""

    async def succeed_later(refund_id: str) -> None:
        refund = objects.find(box, "refund", refund_id)
        if refund and refund["status"] == "pending":
            succeed(box, refund)

    async def fail_later(refund_id: str) -> None:
        refund = objects.find(box, "refund", refund_id)
        if refund and refund["status"] == "pending":
            fail(box, refund)

    box.agenda.actions["stripe.pay_refund"] = succeed_later
    box.agenda.actions["stripe.fail_refund"] = fail_later

"""Disputes: opened by the customer's bank (here: on the dashboard page, or by a test card), then won or lost."""

from __future__ import annotations

from sandbox.box import Box
from sandbox.state import Doc
from sandbox.stripe import balance, objects
from sandbox.stripe.errors import StripeError

OPEN = ("needs_response", "under_review", "warning_needs_response", "warning_under_review")
RESPOND_WITHIN_S = 7 * 24 * 3600
VERDICTS = ("review", "win", "lose", "close")


def create(
    box: Box, charge: Doc, *, amount: int | None = None, reason: str = "general", is_inquiry: bool = False
) -> Doc:
    """Open a dispute over a captured charge: the money leaves at once, unless the bank is only asking."""
    if not charge["captured"]:
        raise StripeError("Only a captured charge can be disputed")
    if blocks(box, charge):
        raise StripeError("This charge is disputed already")
    rest = charge["amount_captured"] - charge["amount_refunded"]
    amount = rest if amount is None else amount
    if not 1 <= amount <= rest:
        raise StripeError("The disputed amount must be at least 1 and at most what is not refunded", "amount")
    dispute = objects.made(
        "dispute",
        amount=amount,
        balance_transactions=[],
        charge=charge["id"],
        currency=charge["currency"],
        evidence={},
        evidence_details={"due_by": objects.now() + RESPOND_WITHIN_S, "has_evidence": False, "past_due": False,
                          "submission_count": 0},
        is_charge_refundable=is_inquiry,
        metadata={},
        payment_intent=charge["payment_intent"],
        reason=reason,
        status="warning_needs_response" if is_inquiry else "needs_response",
    )  # fmt: skip
    with box.store.transaction():
        objects.save(box, dispute, parent=charge["id"])
        charge["disputed"] = True
        objects.save(box, charge)
        _announce(box, "created", dispute)
        if not is_inquiry:
            _move(box, dispute, -amount)
            _announce(box, "funds_withdrawn", dispute)
    return dispute


def decide(box: Box, dispute: Doc, verdict: str) -> Doc:
    """Move an open dispute on; a lost one may be won after all."""
    if verdict not in VERDICTS:
        raise StripeError("There is no such verdict")
    if dispute["status"] not in OPEN and (dispute["status"], verdict) != ("lost", "win"):
        raise StripeError(f"This dispute is {dispute['status']}")
    is_inquiry = dispute["status"].startswith("warning_")
    if is_inquiry != (verdict == "close") and verdict != "review":
        raise StripeError("An inquiry is closed; a dispute is won or lost")
    with box.store.transaction():
        if verdict == "review":
            dispute["status"] = "warning_under_review" if is_inquiry else "under_review"
            _announce(box, "updated", dispute)
            objects.save(box, dispute)
            return dispute
        dispute["status"] = {"win": "won", "lose": "lost", "close": "warning_closed"}[verdict]
        if verdict == "win":
            _move(box, dispute, dispute["amount"])
            _announce(box, "funds_reinstated", dispute)
        objects.save(box, dispute)
        _announce(box, "closed", dispute)
    return dispute


def blocks(box: Box, charge: Doc) -> bool:
    """Whether a dispute has the charge's money, or may get it."""
    return any(dispute["status"] in (*OPEN, "lost") for dispute in objects.every(box, "dispute", parent=charge["id"]))


def _move(box: Box, dispute: Doc, amount: int) -> None:
    moved = balance.move(box, dispute, amount, "adjustment", fee=1500 if amount < 0 else 0)
    dispute["balance_transactions"].append(objects.public(moved))
    objects.save(box, dispute)


def _announce(box: Box, event: str, dispute: Doc) -> list[str]:
    return objects.announce(box, f"charge.dispute.{event}", dispute, amount=dispute["amount"])

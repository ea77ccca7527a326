"""A payment's starts: what we ask a gateway to open, once per reference, and tying its answer to our row."""

from __future__ import annotations

import uuid

from django.db import transaction

import audit
from billing import captures, checkouts, gateways
from billing.gateways.base import Gateway, Opening, Repeated, StartFact
from billing.models import Payment, PaymentStart, PaymentState
from billing.models.payments import start_reference
from billing.standing import lock, move
from core.errors import BadGateway


@audit.writes("payment")
def add_start(payment: Payment, n: int) -> PaymentStart:
    """The payment's n-th start, which its gateway has not heard of. Locks: the caller holds the payment."""
    row: PaymentStart = PaymentStart.objects.create(
        payment=payment,
        n=n,
        gateway=payment.gateway,
        reference=start_reference(payment.pk, n),
        amount=payment.amount,
        currency=payment.currency,
    )
    audit.record("payment.start_added", payment, new={"start": n}, user=payment.user_id)
    return row


def is_untold(payment: Payment, begun: PaymentStart) -> bool:
    """Whether the client could not pay on this start: the gateway's answer, or what it needs of it, is not with us."""
    if begun.ref is None:
        return True
    return not gateways.get(payment.gateway).is_payable(checkouts.fact_of(begun), payment.flow)


def ask_to_open(gateway: Gateway, payment: Payment, begun: PaymentStart) -> StartFact | None:
    """The gateway's answer to a start; None when it had answered before, without our hearing it."""
    try:
        return gateway.start(opening(payment, begun))
    except Repeated:
        found = gateway.find_start(begun.reference)
        if found is not None and gateway.is_payable(found, payment.flow):
            return found
        if found is not None:
            tie(payment.pk, begun.pk, found)
        return None


@audit.writes("payment")
def next_start(payment: Payment, begun: PaymentStart) -> PaymentStart:
    """The start after this one, unless a twin has just added it. Locks: the payment."""
    with transaction.atomic():
        lock(payment.pk)
        newest = PaymentStart.objects.filter(payment=payment).order_by("-n")[0]
        if newest.ref is None and newest.n > begun.n:
            return newest
        return add_start(payment, newest.n + 1)


def opening(payment: Payment, begun: PaymentStart) -> Opening:
    return Opening(
        reference=begun.reference,
        amount=begun.amount,
        currency=begun.currency,
        title=payment.title,
        flow=payment.flow,
        return_url=checkouts.done_url(payment.pk),
        email=payment.user.email,
        name=payment.user.get_full_name(),
        notes={"payment": str(payment.pk), "item": payment.item},
    )


@audit.writes("payment")
def tie(payment_id: uuid.UUID, start_id: uuid.UUID, fact: StartFact) -> Payment:
    """Note the gateway's id of a start.

    Idempotent: the first id stays. Raises: BadGateway when the gateway opened something else than we asked for.
    """
    with transaction.atomic():
        payment = lock(payment_id)
        begun = PaymentStart.objects.get(pk=start_id)
        is_ours = captures.agrees(begun, fact)
        if not is_ours:
            captures.file_mismatch(payment, begun, fact)
        elif begun.ref is None:
            begun.ref, begun.url, begun.secret = fact.ref, fact.url, fact.secret
            begun.save(update_fields=["ref", "url", "secret"])
            old = payment.state
            if old == PaymentState.CREATED:
                move(payment, PaymentState.PENDING)
            audit.record(
                "payment.started",
                payment,
                old={"state": old},
                new={"state": payment.state, "ref": fact.ref},
                user=payment.user_id,
            )
    if not is_ours:
        raise BadGateway(f"{payment.gateway} answered with another order than ours; nothing can be paid on it.")
    return payment

"""A payment's life: started at a gateway, looked at, settled, or closed unpaid.

Whoever has news (the client's verify, a webhook, the poller, staff) calls `refresh`: ask the gateway, compare, and
`settle` in one transaction. Nobody's word moves money.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

import audit
from billing import captures, disputes, gateways, looks, openings, pricing, refunds, sales
from billing.errors import CurrencyNotSold, GatewayUnavailable, PaymentSettled, SignatureInvalid
from billing.gateways.base import (
    AttemptFact,
    AttemptStatus,
    DisputeFact,
    Gateway,
    GatewayError,
    Misconfigured,
    RefundFact,
    Rejected,
    Snapshot,
    Unreachable,
)
from billing.gateways.wallet import PAYS_FROM
from billing.models import Payment, PaymentStart, PaymentState
from billing.models.payments import Flow
from billing.standing import lock, move
from core.errors import BadGateway, Charged, Conflict, Error, Invalid, detail
from core.idempotency import Claim
from core.killpoints import reach

log = structlog.get_logger("payments")

FIRST_LOOK = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Started:
    payment: Payment
    is_new: bool


@dataclass(frozen=True, slots=True)
class News:
    """What a gateway says of one payment: a snapshot for each of its starts, and facts learnt elsewhere; in the look of
    that number, which is 0 where nobody is asked."""

    snapshots: Sequence[tuple[PaymentStart, Snapshot]]
    refunds: Sequence[RefundFact] = ()
    disputes: Sequence[DisputeFact] = ()
    look: int = 0


@dataclass(slots=True)
class Order:
    """What somebody wants to buy, checked and priced."""

    user: Any
    quote: pricing.Quote
    gateway: Gateway
    flow: str
    return_url: str
    superseded: list[uuid.UUID] = field(default_factory=list)

    def is_same(self, payment: Payment) -> bool:
        wanted = (self.gateway.name, self.quote.amount, self.quote.currency, self.quote.credits)
        return wanted == (payment.gateway, payment.amount, payment.currency, payment.credits)


# --- Starting ---------------------------------------------------------------------------------------------------------


@audit.writes("payment")
def start(
    *,
    user: Any,
    item: str,
    gateway: str,
    currency: str | None = None,
    flow: str = Flow.CLIENT,
    return_url: str = "",
    claim: Claim | None = None,
) -> Started:
    """Open a payment for an item: our row first, then the gateway's, then the two tied together.

    By wallet all of it, debit and goods included, is one transaction.

    Idempotent: a claim resumes what it was bound to; an open payment for the same item, gateway and price is answered
    instead of a second one.
    Raises: SalesStopped, Invalid, NotForSale, CurrencyNotSold, GatewayUnavailable, BadGateway, Conflict,
        InsufficientFunds, DebtOutstanding.
    """
    if claim and claim.subject_id:
        payment = Payment.objects.get(pk=claim.subject_id, user=user)
        return Started(_tell(payment), is_new=True)
    sales.insist()
    chosen = gateways.get(gateway)
    quote = pricing.quote(item, pricing.currency_for(currency, user.currency, chosen.default_currency), user=user)
    if currency and currency.upper() != quote.currency:
        message = f"This is sold in {quote.currency}, not {currency.upper()}."
        raise CurrencyNotSold(message, details=[detail("currency_not_sold", message, "currency")])
    if quote.currency not in chosen.currencies:
        taken = " or ".join(chosen.currencies)
        message = f"{chosen.name} takes {taken} here, not {quote.currency}."
        raise CurrencyNotSold(message, details=[detail("currency_not_sold", message, "currency")])
    if not chosen.is_remote and quote.wallet_kind == PAYS_FROM:
        message = "A wallet cannot fill itself; choose another way to pay."
        raise Invalid(message, details=[detail("fills_itself", message, "gateway")])
    check_return_url(return_url)
    started = _open(Order(user, quote, chosen, flow, return_url), claim)
    reach("payments.start.committed")
    return Started(_tell(started.payment), started.is_new)


def check_return_url(url: str) -> None:
    """Refuse a return address outside ALLOWED_ORIGINS: it would make our pages send people anywhere.

    Raises: Invalid.
    """
    if not url:
        return
    parts = urlsplit(url)
    if parts.username or parts.password or f"{parts.scheme}://{parts.netloc}" not in settings.ALLOWED_ORIGINS:
        message = "return_url must begin with one of this installation's ALLOWED_ORIGINS."
        raise Invalid(message, details=[detail("return_url_not_allowed", message, "return_url")])


def _open(order: Order, claim: Claim | None) -> Started:
    """Our row, or the one already open; one that asks for something else is closed first.

    A twin may insert or close between our look and our insert, hence the rounds.
    """
    for _ in range(5):
        with transaction.atomic():
            older = _open_payment(order)
            if older is None:
                payment = _insert(order, claim)
                if payment is None:
                    continue
                if not order.gateway.is_remote:
                    payment = _pay_at_once(payment, order.gateway)
                return Started(payment, is_new=True)
            if order.is_same(older) and not _has_run_out(older):
                _readdress(older, order)
                if claim:
                    claim.bind(older.pk)
                return Started(older, is_new=False)
        _close_for(older, order)
    raise Conflict("Another payment for this item is being opened; try again.", retry_after=2)


def _pay_at_once(payment: Payment, gateway: Gateway) -> Payment:
    begun = payment.starts.get()
    fact = gateway.start(openings.opening(payment, begun))
    openings.tie(payment.pk, begun.pk, fact)
    begun.ref = fact.ref
    paid = AttemptFact(fact.ref, fact.ref, AttemptStatus.CAPTURED, fact.amount, fact.currency, method=gateway.name)
    return settle(payment.pk, News([(begun, Snapshot(fact, [paid]))]))


def _open_payment(order: Order) -> Payment | None:
    mine: QuerySet[Payment] = Payment.objects.filter(user=order.user, item=order.quote.item)
    opened = mine.filter(state__in=(PaymentState.CREATED, PaymentState.PENDING))
    return opened.select_for_update(of=("self",), no_key=True).first()


def _has_run_out(payment: Payment) -> bool:
    return Payment.objects.filter(pk=payment.pk, expires_at__lte=Now()).exists()


def _readdress(payment: Payment, order: Order) -> None:
    """Let an open payment be paid the way it was asked for last."""
    old = {"flow": payment.flow, "return_url": payment.return_url}
    new = {"flow": order.flow, "return_url": order.return_url}
    if old != new:
        payment.flow, payment.return_url = order.flow, order.return_url
        payment.save(update_fields=["flow", "return_url", "updated_at"])
    audit.record("payment.asked_again", payment, old=old, new=new, user=payment.user_id)


def _insert(order: Order, claim: Claim | None) -> Payment | None:
    """The payment and its first start; None when a twin was faster."""
    payment = Payment(
        user=order.user,
        item=order.quote.item,
        fulfils=order.quote.fulfils,
        title=order.quote.title,
        credits=order.quote.credits,
        wallet_kind=order.quote.wallet_kind,
        gateway=order.gateway.name,
        amount=order.quote.amount,
        currency=order.quote.currency,
        flow=order.flow,
        return_url=order.return_url,
        expires_at=Now() + order.gateway.open_for,
        next_at=Now() + FIRST_LOOK,
    )
    Payment.objects.bulk_create([payment], ignore_conflicts=True)
    stored = Payment.objects.filter(pk=payment.pk).first()
    if stored is None:
        return None
    openings.add_start(stored, 1)
    Payment.objects.filter(pk__in=order.superseded).update(superseded_by=stored)
    audit.record(
        "payment.created",
        stored,
        new={
            "item": stored.item,
            "gateway": stored.gateway,
            "amount": stored.amount,
            "currency": stored.currency,
            "credits": stored.credits,
        },
        metadata={"supersedes": order.superseded} if order.superseded else None,
        user=stored.user_id,
    )
    if claim:
        claim.bind(stored.pk)
    return stored


def _close_for(older: Payment, order: Order) -> None:
    """Close an open payment that another one takes the place of, at its gateway first: it may be paid already."""
    older = _shut(older)
    if older.is_paid and not order.gateway.is_remote:
        message = "An earlier payment for this has just arrived; nothing was taken from your wallet."
        raise Conflict(message, charged="settled")
    if older.is_open:
        _close(older.pk, PaymentState.CANCELED, why="superseded")
        order.superseded.append(older.pk)


def _tell(payment: Payment) -> Payment:
    """Open the payment's last start at its gateway, unless that is done, and tie the two together.

    Raises: SalesStopped, GatewayUnavailable, BadGateway.
    """
    begun = payment.starts.order_by("-n").first()
    if begun is None or not payment.is_open or not openings.is_untold(payment, begun):
        return payment
    sales.insist()
    gateway = gateways.get(payment.gateway)
    try:
        fact = None
        if begun.ref is None:
            fact = openings.ask_to_open(gateway, payment, begun)
        if fact is None:
            # What is needed was told once and we never heard it, or it is paid another way now: another start. All are
            # looked at.
            begun = openings.next_start(payment, begun)
            fact = gateway.start(openings.opening(payment, begun))
    except Rejected as error:
        _reject(payment.pk, error)
        raise BadGateway(f"{payment.gateway} refused to open this payment: {error}") from error
    except GatewayError as error:
        raise for_client(error, unclear="unknown", unreached="none") from error
    reach("payments.start.answered")
    return openings.tie(payment.pk, begun.pk, fact)


def _reject(payment_id: uuid.UUID, error: Rejected) -> None:
    with transaction.atomic():
        payment = lock(payment_id)
        if payment.is_open:
            payment.failure_code, payment.failure_message = error.code, str(error)
            move(payment, PaymentState.FAILED, "failure_code", "failure_message")
            audit.record(
                "payment.failed", payment, new={"code": error.code, "message": str(error)}, user=payment.user_id
            )


# --- Looking and settling ---------------------------------------------------------------------------------------------


@audit.writes("payment")
def refresh(payment: Payment, *, refund_facts: Sequence[RefundFact] = (), dispute_refs: Sequence[str] = ()) -> Payment:
    """The one door: ask the gateway about every start, take what is authorised, and settle what came of it.

    The facts are what the caller has just fetched from the gateway; the disputes named are looked at in any case.
    Idempotent: by what is already noted.
    Raises: GatewayError, GatewayUnavailable.
    """
    gateway = gateways.get(payment.gateway)
    if not gateway.is_remote:
        return Payment.objects.get(pk=payment.pk)
    n = looks.begin()
    seen = []
    for begun in payment.starts.order_by("n"):
        if begun.ref is None:
            found = gateway.find_start(begun.reference)
            if found is None:
                continue
            openings.tie(payment.pk, begun.pk, found)
            begun.ref = found.ref
        seen.append((begun, _look(gateway, payment, begun, begun.ref)))
    known = {fact.ref for _, snapshot in seen for fact in snapshot.disputes}
    dispute_facts = [gateway.fetch_dispute(ref) for ref in dispute_refs if ref not in known]
    reach("payments.settle.fetched")
    return settle(payment.pk, News(seen, refund_facts, dispute_facts, n))


def _look(gateway: Gateway, payment: Payment, begun: PaymentStart, ref: str) -> Snapshot:
    """What came of a start; what is authorised on an order as we asked for it is captured first, unless the price has
    been paid already."""
    open_disputes = payment.disputes.filter(state="open", attempt__start__ref=ref).values_list("ref", flat=True)
    seen = gateway.fetch(ref, dispute_refs=list(open_disputes))
    authorized = [fact for fact in seen.attempts if fact.status is AttemptStatus.AUTHORIZED]
    is_paid = any(fact.status is AttemptStatus.CAPTURED for fact in seen.attempts)
    if not authorized or is_paid or not captures.agrees(begun, seen.start) or captures.is_covered_elsewhere(payment):
        return seen
    first = min(authorized, key=lambda fact: (fact.at, fact.ref))
    try:
        gateway.capture(first.ref, amount=first.amount, currency=first.currency)
    except Rejected as error:
        # It cannot be taken (any more); the bank gives it back to the customer by itself.
        log.warning("capture_refused", payment=str(payment.pk), attempt=first.ref, error=str(error))
    return gateway.fetch(ref, dispute_refs=list(open_disputes))


@audit.writes("payment")
def settle(payment_id: uuid.UUID, news: News) -> Payment:
    """Bring a payment up to what its gateway says, in one transaction: attempts, money, goods, refunds, disputes.

    Idempotent: each fact is applied once; nothing that is paid becomes unpaid.
    Locks: payment → refund/dispute → wallets.
    Enqueues: payment-confirmation, payment-failed, refund; billing.send_refunds
    """
    with transaction.atomic():
        payment = lock(payment_id)
        failed = []
        for begun, seen in news.snapshots:
            failed += captures.note(payment, begun, seen)
        is_fresh = captures.deliver_if_paid(payment)
        seen_refunds = [fact for _, seen in news.snapshots for fact in seen.refunds]
        refunds.observe(payment, [*seen_refunds, *news.refunds])
        seen_disputes = [fact for _, seen in news.snapshots for fact in seen.disputes]
        disputes.observe(payment, [*seen_disputes, *news.disputes], look=news.look)
        captures.tell(payment, is_fresh=is_fresh, failed=failed)
        reach("payments.settle.posted")
    reach("payments.settle.committed")
    return payment


# --- The client's word ------------------------------------------------------------------------------------------------


@audit.writes("payment")
def verify(payment: Payment, claim: Mapping[str, str] | None = None) -> Payment:
    """Look now, because the client says that it has paid. What the checkout handed to it must be signed, if given.

    Idempotent: by state; a settled payment is answered as it is.
    Raises: SignatureInvalid, GatewayUnavailable, BadGateway.
    """
    if payment.is_paid and not claim:
        return payment
    try:
        gateway = gateways.get(payment.gateway)
    except GatewayUnavailable as error:
        raise GatewayUnavailable(error.message, charged="unknown") from error
    if claim:
        refs = [ref for ref in payment.starts.values_list("ref", flat=True) if ref]
        if not gateway.check_client(claim, refs=refs):
            audit.record(
                "payment.verification_failed",
                payment,
                metadata={"order": str(claim.get("razorpay_order_id", ""))[:64]},
                user=payment.user_id,
            )
            raise SignatureInvalid(charged="settled" if payment.is_paid else "none")
    if payment.is_paid:
        return payment
    try:
        return refresh(payment)
    except GatewayError as error:
        # Whatever the reason, we have not seen whether the customer's money was taken.
        raise for_client(error, unclear="unknown", unreached="unknown") from error


@audit.writes("payment")
def cancel(payment: Payment) -> Payment:
    """Close an open payment because its owner wants so, at its gateway first: it may have been paid meanwhile.

    Idempotent: a closed payment stays as it is.
    Raises: PaymentSettled.
    """
    if payment.is_open:
        payment = _shut(payment)
    return _close(payment.pk, PaymentState.CANCELED, why="asked")


@audit.writes("payment")
def withdraw(payment: Payment, *, why: str) -> Payment:
    """Close a payment because what it would buy is given up, after having looked whether it was paid. A closed one is
    looked at too: its money may have come since.

    Idempotent: by state.
    Raises: GatewayError, GatewayUnavailable, and nothing is closed; PaymentSettled.
    """
    try:
        payment = refresh(payment)
        if payment.is_open and not _close_starts(payment):
            payment = refresh(payment)
    except Rejected as error:
        # The gateway does not know it (its keys were changed, say): nobody can pay on it.
        log.warning("payment_not_known", payment=str(payment.pk), error=str(error))
    return _close(payment.pk, PaymentState.CANCELED, why=why)


@audit.writes("payment")
def expire(payment: Payment) -> Payment:
    """Close a payment that nobody paid in time. The caller has just looked at it.

    Idempotent: only an open payment whose time is over changes.
    """
    if payment.is_open and _has_run_out(payment):
        payment = _shut(payment, is_seen=True)
    return _close(payment.pk, PaymentState.EXPIRED, why="time is over")


def _shut(payment: Payment, *, is_seen: bool = False) -> Payment:
    """Look at a payment and close its starts at the gateway, where that exists; look again if one will not close.

    Money that comes later all the same is still settled, so a gateway that does not answer keeps nothing open.
    """
    try:
        payment = payment if is_seen else refresh(payment)
        if payment.is_open and not _close_starts(payment):
            payment = refresh(payment)
    except (GatewayError, GatewayUnavailable) as error:
        log.warning("payment_closed_unseen", payment=str(payment.pk), error=str(error))
    return payment


def _close_starts(payment: Payment) -> bool:
    gateway = gateways.get(payment.gateway)
    are_closed = True
    for begun in payment.starts.exclude(ref=None).order_by("n"):
        try:
            gateway.close(str(begun.ref))
        except Rejected as error:
            log.info("start_not_closed", payment=str(payment.pk), ref=begun.ref, error=str(error))
            are_closed = False
    return are_closed


def _close(payment_id: uuid.UUID, state: PaymentState, *, why: str) -> Payment:
    with transaction.atomic():
        payment = lock(payment_id)
        if payment.is_paid and state == PaymentState.CANCELED:
            raise PaymentSettled(charged="settled")
        if state == PaymentState.EXPIRED and not _has_run_out(payment):
            return payment
        if payment.is_open:
            old = payment.state
            move(payment, state)
            audit.record(
                f"payment.{state.value}",
                payment,
                old={"state": old},
                new={"state": payment.state},
                metadata={"why": why},
                user=payment.user_id,
            )
    return payment


# --- What all of them share -------------------------------------------------------------------------------------------


def for_client(error: GatewayError, *, unclear: Charged, unreached: Charged) -> Error:
    """A gateway's failure as what the client is told, money first."""
    if isinstance(error, Unreachable):
        return GatewayUnavailable(charged=unreached, retry_after=error.retry_after or 5)
    if isinstance(error, Misconfigured):
        log.error("gateway_misconfigured", error=str(error))
        return GatewayUnavailable(charged=unreached, retry_after=60)
    if isinstance(error, Rejected):
        return BadGateway(f"The gateway refused: {error}", charged=unreached)
    return BadGateway("The gateway gave no usable answer; ask again for the state of this payment.", charged=unclear)

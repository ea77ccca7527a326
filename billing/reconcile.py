"""What makes it work with every webhook lost: the poller of young payments, and the hourly walk through each gateway's
lists. Both lead through `payments.refresh`; only what cannot be applied becomes a break."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta

import structlog
from django.db import connection
from django.db.models import Case, DateTimeField, F, Q, QuerySet, Value, When
from django.db.models.functions import Least, Now

from billing import breaks, disputes, gateways, payments, subscriptions
from billing.errors import GatewayUnavailable
from billing.gateways.base import (
    AttemptFact,
    AttemptStatus,
    DisputeFact,
    Gateway,
    GatewayError,
    Page,
    RefundFact,
    RefundStatus,
    Rejected,
)
from billing.models import (
    Break,
    BreakKind,
    Dispute,
    DisputeState,
    GatewayCursor,
    Payment,
    PaymentAttempt,
    PaymentStart,
    Refund,
)
from billing.models.payments import CLOSED, OPEN
from core import jobs
from core.ids import new_id

log = structlog.get_logger("reconcile")

# --- The poller -------------------------------------------------------------------------------------------------------

# The first look is 30 s after the start (set there); these follow it, then every ten minutes.
WAITS_S = (60, 120, 240, 480)
LATER_S = 600
LOOKED_AT_FOR = timedelta(hours=24)
LEASE = timedelta(seconds=120)
BATCH = 20
WORK_FOR_S = 60  # half the lease: what is left of the batch goes back to the queue


def poll() -> int:
    """Look at the payments that are due and close those that nobody paid in time. Returns how many were looked at.

    Idempotent: `refresh` is; a lapsed lease is claimed again. Nothing is closed without having been looked at.
    """
    token = new_id()
    claimed = _claim(token)
    until = time.monotonic() + WORK_FOR_S
    looked = 0
    unreachable: set[str] = set()
    for payment in claimed:
        if time.monotonic() > until or payment.gateway in unreachable:
            _give_up(payment, token)
            continue
        try:
            _look(payment)
        except (GatewayError, GatewayUnavailable) as error:
            unreachable.add(payment.gateway)
            log.warning("payment_not_seen", payment=str(payment.pk), error=str(error))
        except Exception as error:
            # One payment that cannot be applied must not keep the others waiting; staff is told.
            log.exception("payment_not_applied", payment=str(payment.pk))
            _file_unapplied(payment, error)
        _schedule(payment.pk, token)
        looked += 1
    if len(claimed) == BATCH and not unreachable:
        jobs.wake("billing.poll_payments")
    return looked


def _look(payment: Payment) -> None:
    try:
        seen = payments.refresh(payment)
    except Rejected as error:
        # The gateway does not know the order (its keys were changed, say): nobody can pay on it.
        log.warning("payment_not_known", payment=str(payment.pk), error=str(error))
        seen = payment
    if seen.is_open:
        payments.expire(seen)


def _claim(token: uuid.UUID) -> list[Payment]:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE billing_payment SET lease_token = %s, lease_until = statement_timestamp() + make_interval(secs => %s)
            WHERE id IN (
                SELECT id FROM billing_payment
                WHERE next_at <= statement_timestamp()
                  AND (lease_until IS NULL OR lease_until < statement_timestamp())
                ORDER BY next_at LIMIT %s FOR NO KEY UPDATE SKIP LOCKED
            )
            RETURNING id
            """,
            [token, LEASE.total_seconds(), BATCH],
        )
        ids = [row[0] for row in cursor.fetchall()]
    return list(Payment.objects.filter(pk__in=ids, lease_token=token).order_by("next_at")) if ids else []


def _mine(payment_id: uuid.UUID, token: uuid.UUID) -> QuerySet[Payment]:
    return Payment.objects.filter(pk=payment_id, lease_token=token)


def _give_up(payment: Payment, token: uuid.UUID) -> None:
    """Put back what there was no time for, or whose gateway does not answer."""
    _mine(payment.pk, token).update(lease_token=None, lease_until=None, next_at=Now() + timedelta(seconds=30))


def _schedule(payment_id: uuid.UUID, token: uuid.UUID) -> None:
    """When to look again: an open payment until it is closed and never later than its end, a closed one for a day."""
    looks = Case(
        *(When(looks=n, then=Now() + timedelta(seconds=wait)) for n, wait in enumerate(WAITS_S)),
        default=Now() + timedelta(seconds=LATER_S),
    )
    is_young = Q(created_at__gt=Now() - LOOKED_AT_FOR)
    _mine(payment_id, token).update(
        looks=F("looks") + 1,
        lease_token=None,
        lease_until=None,
        next_at=Case(
            When(Q(state__in=OPEN, expires_at__gt=Now()), then=Least(looks, F("expires_at"))),
            When(Q(state__in=OPEN) | (Q(state__in=CLOSED) & is_young), then=looks),
            default=Value(None),
            output_field=DateTimeField(),
        ),
    )


def _file_unapplied(payment: Payment, error: Exception) -> None:
    breaks.file(
        BreakKind.UNAPPLIED,
        cause=f"unapplied:{payment.pk}",
        gateway=payment.gateway,
        payment=payment,
        amount=payment.amount,
        currency=payment.currency,
        details={"error": f"{type(error).__name__}: {error}"[:500]},
    )


# --- The walk ---------------------------------------------------------------------------------------------------------

EVERY = timedelta(hours=1)
SOON = timedelta(minutes=10)
OVERLAP_S = 2 * 3600  # also covers clocks that differ by an hour
DEEP_OVERLAP_S = 7 * 86_400  # lists go by birth; a payment may be captured up to five days after it
DEEP_EVERY = timedelta(hours=24)
FIRST_S = 86_400
WALK_LEASE = timedelta(minutes=10)

Facts = Page[AttemptFact] | Page[RefundFact] | Page[DisputeFact]


def walk() -> int:
    """Read each gateway's lists of payments, refunds and disputes since the cursor. Returns how many lists were read.

    Idempotent: facts are applied once; a cursor moves only past what was read to the end.
    """
    for gateway in _walked():
        _open_cursors(gateway.name)
    walked = 0
    while cursor := _claim_cursor():
        _walk_one(cursor)
        walked += 1
    disputes.tend()
    return walked


def _walked() -> list[Gateway]:
    return [gateway for gateway in gateways.offered() if gateway.is_remote]


def _open_cursors(gateway: str) -> None:
    have = set(GatewayCursor.objects.filter(gateway=gateway).values_list("resource", flat=True))
    missing = [
        GatewayCursor(gateway=gateway, resource=name, position=_database_clock() - FIRST_S, next_at=Now())
        for name in _APPLY
        if name not in have
    ]
    if missing:
        GatewayCursor.objects.bulk_create(missing, ignore_conflicts=True)


def _database_clock() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM statement_timestamp())::bigint")
        return int(cursor.fetchone()[0])


def _claim_cursor() -> GatewayCursor | None:
    token = new_id()
    walked = [gateway.name for gateway in _walked()]
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE billing_gatewaycursor
            SET lease_token = %s, lease_until = statement_timestamp() + make_interval(secs => %s)
            WHERE id = (
                SELECT id FROM billing_gatewaycursor
                WHERE gateway = ANY(%s) AND next_at <= statement_timestamp()
                  AND (lease_until IS NULL OR lease_until < statement_timestamp())
                ORDER BY next_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
            )
            """,
            [token, WALK_LEASE.total_seconds(), walked],
        )
    return GatewayCursor.objects.filter(lease_token=token).first()


def _walk_one(cursor: GatewayCursor) -> None:
    gateway = gateways.get(cursor.gateway)
    mine = GatewayCursor.objects.filter(pk=cursor.pk, lease_token=cursor.lease_token)
    began = _database_clock()
    is_deep = not GatewayCursor.objects.filter(pk=cursor.pk, deep_at__gt=Now() - DEEP_EVERY).exists()
    since = max(0, cursor.position - (DEEP_OVERLAP_S if is_deep else OVERLAP_S))
    pages, apply = _APPLY[cursor.resource]
    try:
        skip: int | str | None = 0
        while skip is not None:
            page = pages(gateway)(since, skip=skip)
            for run in apply(gateway, page.items):
                _guarded(gateway, cursor.resource, run)
            skip = page.next_skip
            mine.update(lease_until=Now() + WALK_LEASE)
        if cursor.resource == "disputes":
            _look_at_open_disputes(gateway)
    except (GatewayError, GatewayUnavailable) as error:
        log.warning("walk_stopped", gateway=gateway.name, resource=cursor.resource, error=str(error))
        mine.update(
            lease_token=None,
            lease_until=None,
            next_at=Now() + SOON,
            failures=F("failures") + 1,
            error=str(error)[:200],
        )
        return
    mine.update(
        position=began,
        deep_at=Now() if is_deep else F("deep_at"),
        lease_token=None,
        lease_until=None,
        next_at=Now() + EVERY,
        failures=0,
        error="",
    )


Run = tuple[str, Callable[[], object]]


def _guarded(gateway: Gateway, resource: str, run: Run) -> None:
    """Apply one fact. What our own code cannot take becomes a break, and the walk goes on."""
    ref, act = run
    try:
        act()
    except Rejected as error:
        log.warning("walk_refused", gateway=gateway.name, ref=ref, error=str(error))
    except GatewayError:
        raise
    except Exception as error:
        log.exception("walk_not_applied", gateway=gateway.name, ref=ref)
        breaks.file(
            BreakKind.UNAPPLIED,
            cause=f"unapplied:{resource}:{ref}",
            gateway=gateway.name,
            details={"error": f"{type(error).__name__}: {error}"[:500]},
        )


def _payments(gateway: Gateway, facts: Iterable[AttemptFact]) -> Iterator[Run]:
    facts = [fact for fact in facts if fact.status is not AttemptStatus.CREATED]
    named = PaymentAttempt.objects.filter(gateway=gateway.name, ref__in=[fact.ref for fact in facts])
    rows = list(PaymentAttempt.objects.filter(start__in=named.values("start")))
    known = {row.ref: (row.state, row.refunded) for row in rows}
    captured: Counter[uuid.UUID] = Counter()
    for row in rows:
        captured[row.start_id] += row.amount if row.counts else 0
    of_start = {row.ref: captured[row.start_id] for row in rows}
    for fact in facts:
        has_grown = fact.status is AttemptStatus.CAPTURED and fact.amount > of_start.get(fact.ref, 0)
        if has_grown or known.get(fact.ref) != (fact.status.value, fact.refunded):
            yield fact.ref, lambda fact=fact: look_at_attempt(gateway, fact)  # type: ignore[misc]


def _refunds(gateway: Gateway, facts: Iterable[RefundFact]) -> Iterator[Run]:
    facts = list(facts)
    known = dict(
        Refund.objects.filter(gateway=gateway.name, ref__in=[fact.ref for fact in facts]).values_list("ref", "state")
    )
    for fact in facts:
        if known.get(fact.ref) != fact.status.value:
            yield fact.ref, lambda fact=fact: look_at_refund(gateway, fact)  # type: ignore[misc]


def _disputes(gateway: Gateway, facts: Iterable[DisputeFact]) -> Iterator[Run]:
    facts = list(facts)
    known = dict(
        Dispute.objects.filter(gateway=gateway.name, ref__in=[fact.ref for fact in facts]).values_list("ref", "state")
    )
    for fact in facts:
        if known.get(fact.ref) != fact.status.value:
            yield fact.ref, lambda fact=fact: look_at_dispute(gateway, fact)  # type: ignore[misc]


def _look_at_open_disputes(gateway: Gateway) -> None:
    """The list goes by birth and a case may take months, so every open one is asked about."""
    still_open = Payment.objects.filter(disputes__gateway=gateway.name, disputes__state=DisputeState.OPEN).distinct()
    for payment in still_open.order_by("pk").iterator(chunk_size=200):
        _guarded(gateway, "disputes", (str(payment.pk), lambda payment=payment: payments.refresh(payment)))  # type: ignore[misc]


_APPLY: dict[str, tuple[Callable[[Gateway], Callable[..., Facts]], Callable[..., Iterator[Run]]]] = {
    "payments": (lambda gateway: gateway.payments_since, _payments),
    "refunds": (lambda gateway: gateway.refunds_since, _refunds),
    "disputes": (lambda gateway: gateway.disputes_since, _disputes),
}


# --- From a gateway's fact to our payment; webhooks come in here too ------------------------------------------------


def look_at_start(gateway: Gateway, ref: str) -> Payment | None:
    """Look at the payment that a gateway's order belongs to. None when it is not ours.

    An order whose answer we never read is recognised by our reference.
    Raises: GatewayError.
    """
    begun = PaymentStart.objects.filter(gateway=gateway.name, ref=ref).select_related("payment").first()
    if begun is None:
        reference = gateway.fetch_start(ref).reference
        begun = PaymentStart.objects.filter(gateway=gateway.name, reference=reference).select_related("payment").first()
        if begun is None and gateway.name == subscriptions.GATEWAY and reference.startswith("in_"):
            return subscriptions.look_at_invoice(reference)
    return payments.refresh(begun.payment) if begun else None


def look_at_attempt(gateway: Gateway, fact: AttemptFact) -> Payment | None:
    """Look at the payment behind somebody's try to pay; money that belongs to none of ours is filed.

    Raises: GatewayError.
    """
    cause = f"unknown_payment:{gateway.name}:{fact.ref}"
    if Break.objects.filter(cause=cause).exists():
        return None
    payment = look_at_start(gateway, fact.start_ref) if fact.start_ref else None
    if payment is None and fact.status is AttemptStatus.CAPTURED:
        breaks.file(
            BreakKind.UNKNOWN_PAYMENT,
            cause=cause,
            gateway=gateway.name,
            amount=fact.amount,
            currency=fact.currency,
            details={"ref": fact.ref, "order": fact.start_ref, "at": fact.at},
        )
    return payment


def look_at_refund(gateway: Gateway, fact: RefundFact) -> Payment | None:
    """Look at the payment that a refund belongs to; one that belongs to none of ours is filed.

    Raises: GatewayError.
    """
    payment = _payment_behind(gateway, fact.attempt_ref)
    if payment is not None:
        return payments.refresh(payment, refund_facts=[fact])
    if fact.status is not RefundStatus.FAILED:
        _file_unknown(gateway, BreakKind.UNKNOWN_REFUND, fact)
    return None


def look_at_dispute(gateway: Gateway, fact: DisputeFact) -> Payment | None:
    """Look at the payment that a dispute is about; one about none of ours is filed.

    Raises: GatewayError.
    """
    payment = _payment_behind(gateway, fact.attempt_ref)
    if payment is not None:
        return payments.refresh(payment, dispute_refs=[fact.ref])
    _file_unknown(gateway, BreakKind.UNKNOWN_DISPUTE, fact)
    return None


def _payment_behind(gateway: Gateway, attempt_ref: str) -> Payment | None:
    row = PaymentAttempt.objects.filter(gateway=gateway.name, ref=attempt_ref).select_related("payment").first()
    if row is not None:
        return row.payment
    return look_at_attempt(gateway, gateway.fetch_attempt(attempt_ref))


def _file_unknown(gateway: Gateway, kind: BreakKind, fact: RefundFact | DisputeFact) -> None:
    cause = f"{kind.value}:{gateway.name}:{fact.ref}"
    if not Break.objects.filter(cause=cause).exists():
        breaks.file(
            kind,
            cause=cause,
            gateway=gateway.name,
            amount=fact.amount,
            currency=fact.currency,
            details={"ref": fact.ref, "payment": fact.attempt_ref, "status": fact.status.value},
        )

"""Random walks of a gateway: news of every kind, stale, doubled and out of order, while the customer spends. Whatever
comes, the books balance, nothing paid becomes unpaid, and the goods are handed over once."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest

from accounts.models import User
from billing import disputes, ledger, looks, payments
from billing.errors import DebtOutstanding, InsufficientCredits
from billing.gateways.base import (
    AttemptFact,
    AttemptStatus,
    DisputeFact,
    DisputeStatus,
    RefundFact,
    RefundStatus,
    Snapshot,
    StartFact,
)
from billing.models import Dispute, LedgerTransaction, Payment, PaymentStart
from billing.models.payments import PAID
from tests import books
from tests.billing.buying import fresh, order_of, start
from tests.billing.given import held, spent
from tests.sandbox.process import RunningSandbox

pytestmark = pytest.mark.django_db
STEPS = 40


@dataclass
class Gateway:
    """What a gateway might say next. Refunds and losses never exceed what a capture brought."""

    order: StartFact
    dice: random.Random
    attempts: dict[str, AttemptFact] = field(default_factory=dict)
    refunds: dict[str, RefundFact] = field(default_factory=dict)
    disputes: dict[str, DisputeFact] = field(default_factory=dict)
    clock: int = 1_763_700_000

    def snapshot(self) -> Snapshot:
        newest_first = sorted(self.attempts.values(), key=lambda fact: -fact.at)
        return Snapshot(self.order, newest_first, list(self.refunds.values()), list(self.disputes.values()))

    def captured(self) -> list[AttemptFact]:
        return [fact for fact in self.attempts.values() if fact.status is AttemptStatus.CAPTURED]

    def left(self, capture: AttemptFact) -> int:
        gone = sum(r.amount for r in self.refunds.values() if r.attempt_ref == capture.ref and r.status != "failed")
        claimed = sum(d.amount for d in self.disputes.values() if d.attempt_ref == capture.ref and d.status != "won")
        return capture.amount - gone - claimed

    def step(self) -> None:
        self.clock += 1
        acts = [self.attempt, self.attempt, self.advance, self.advance, self.refund, self.settle_refund]
        self.dice.choice([*acts, self.dispute, self.decide, self.decide])()

    def attempt(self) -> None:
        if len(self.attempts) < 6:
            ref = f"pay_{len(self.attempts)}_{self.order.ref}"
            amount = self.order.amount + self.dice.choice([0, 0, 0, 0, 100, -100])
            self.attempts[ref] = AttemptFact(
                ref, self.order.ref, AttemptStatus.CREATED, amount, self.order.currency, at=self.clock
            )

    def advance(self) -> None:
        """Failed may still be authorised, authorised captured; captured stays."""
        following = {
            AttemptStatus.CREATED: [AttemptStatus.FAILED, AttemptStatus.AUTHORIZED, AttemptStatus.CAPTURED],
            AttemptStatus.FAILED: [AttemptStatus.AUTHORIZED, AttemptStatus.FAILED],
            AttemptStatus.AUTHORIZED: [AttemptStatus.CAPTURED, AttemptStatus.LAPSED],
        }
        for ref in self.dice.sample(sorted(self.attempts), len(self.attempts)):
            if choices := following.get(self.attempts[ref].status):
                self.attempts[ref] = replace(self.attempts[ref], status=self.dice.choice(choices))
                return

    def refund(self) -> None:
        for capture in self.captured():
            left = self.left(capture)
            if left > 0:
                amount = self.dice.choice([left, max(1, left // 3)])
                ref = f"rfnd_{len(self.refunds)}_{self.order.ref}"
                status = self.dice.choice([RefundStatus.SENT, RefundStatus.PROCESSED])
                self.refunds[ref] = RefundFact(ref, capture.ref, status, amount, capture.currency)
                self._count(capture.ref)
                return

    def settle_refund(self) -> None:
        for ref, fact in self.refunds.items():
            if fact.status is RefundStatus.SENT:
                self.refunds[ref] = replace(
                    fact, status=self.dice.choice([RefundStatus.PROCESSED, RefundStatus.FAILED])
                )
                self._count(fact.attempt_ref)
                return

    def _count(self, ref: str) -> None:
        gone = sum(r.amount for r in self.refunds.values() if r.attempt_ref == ref and r.status != "failed")
        self.attempts[ref] = replace(self.attempts[ref], refunded=gone)

    def dispute(self) -> None:
        for capture in self.captured():
            left = self.left(capture)
            if left > 0 and len(self.disputes) < 3:
                ref = f"disp_{len(self.disputes)}_{self.order.ref}"
                amount = self.dice.choice([left, max(1, left // 2)])
                self.disputes[ref] = DisputeFact(ref, capture.ref, DisputeStatus.OPEN, amount, capture.currency)
                return

    def decide(self) -> None:
        for ref, fact in self.disputes.items():
            status = self.dice.choice([DisputeStatus.WON, DisputeStatus.LOST])
            if fact.status is DisputeStatus.OPEN:
                self.disputes[ref] = replace(fact, status=status, lost=fact.amount if status == "lost" else 0)
                return
            if fact.status is DisputeStatus.LOST and self.dice.random() < 0.2:
                self.disputes[ref] = replace(fact, status=DisputeStatus.WON, lost=0)
                return


def customer_acts(user: User, dice: random.Random, holds: list[str]) -> None:
    try:
        match dice.randrange(4):
            case 0:
                spent(user, dice.randint(1, 40))
            case 1:
                holds.append(held(user, dice.randint(1, 40)))
            case 2 if holds:
                key = holds.pop()
                ledger.release(key=key) if dice.random() < 0.5 else ledger.capture(key=key)
    except (InsufficientCredits, DebtOutstanding):
        pass


@pytest.mark.parametrize("seed", range(8))
def test_whatever_a_gateway_says_the_books_balance(alice: User, sandbox: RunningSandbox, seed: int) -> None:
    walk(alice, seed)


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(100, 200))
def test_whatever_a_gateway_says_the_books_balance_deep(alice: User, sandbox: RunningSandbox, seed: int) -> None:
    walk(alice, seed)


def walk(user: User, seed: int) -> None:
    dice = random.Random(seed)
    payment = start(user)
    begun = PaymentStart.objects.get(payment=payment)
    gateway = Gateway(StartFact(order_of(payment), begun.reference, begun.amount, begun.currency), dice)
    told: list[tuple[int, Snapshot]] = []
    holds: list[str] = []
    was_paid = False
    for _ in range(STEPS):
        gateway.step()
        told.append((looks.begin(), gateway.snapshot()))
        # The newest, sometimes one of those before, in any order, sometimes again.
        news = [told[-1], *dice.choices(told[-4:], k=dice.randrange(2))]
        for look, snapshot in dice.sample(news, len(news)):
            payments.settle(payment.pk, payments.News([(begun, snapshot)], look=look))
        for dispute in Dispute.objects.filter(payment=payment):
            assert dispute.state == gateway.disputes[dispute.ref].status.value
        customer_acts(user, dice, holds)
        disputes.tend()
        row = fresh(payment)
        assert not was_paid or row.state in PAID
        was_paid = row.state in PAID
        books.check()

    payments.settle(payment.pk, payments.News([(begun, gateway.snapshot())], look=looks.begin()))
    row = fresh(payment)
    assert LedgerTransaction.objects.filter(key=f"payment:{payment.pk}:grant").count() == (row.fulfilment != "none")
    assert row.taken == row.due()
    assert_money_agrees(row, gateway)
    books.check()


def assert_money_agrees(row: Payment, gateway: Gateway) -> None:
    """Our figures are the gateway's, wherever they were not past what a payment can return."""
    returned = sum(r.amount for r in row.refunds.filter(state__in=["sent", "processed"]))
    assert returned == sum(fact.amount for fact in gateway.refunds.values() if fact.status != "failed")
    lost = sum(dispute.lost for dispute in row.disputes.all())
    assert lost == sum(fact.lost for fact in gateway.disputes.values())
    captured = sum(attempt.amount for attempt in row.attempts.exclude(counts=""))
    assert captured == sum(fact.amount for fact in gateway.captured())

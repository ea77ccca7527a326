"""Any sequence of buying, spending, refunds, refunds that fail later, disputes and debt, over several payments, wallets
and lots, through the whole door and a gateway made of facts; compared with a small oracle after every step.

The oracle is one identity per person and unit: what is owned less what is owed is what the payments brought, less what
the money that went back stands for, less what was spent or ended. Beside it, what is bought repays what is owed, and
nothing stays frozen for what is over. Chance tells the short run little, so it is also told the stories at the end.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import pytest
from django.db.models import Sum
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from accounts.models import User
from billing import disputes, gateways, ledger, payments, refunds
from billing.errors import DebtOutstanding, InsufficientCredits, InsufficientFunds, RefundNotPossible
from billing.gateways.base import (
    AttemptFact,
    AttemptStatus,
    DisputeFact,
    DisputeStatus,
    Opening,
    RefundFact,
    RefundStatus,
    Rejected,
    Snapshot,
    StartFact,
)
from billing.gateways.razorpay import Razorpay
from billing.models import Debt, Dispute, Freeze, LedgerEntry, Payment, PaymentAttempt, Refund, Wallet
from core.money import CREDIT
from tests import books
from tests.billing import given

PEOPLE = 2
_numbers = itertools.count(1)  # every run of the machine adds to one database
ITEMS = ("package:BASIC", "credits:10", "wallet:primary:10000", "wallet:calls:20000")
UNITS = (("credits", CREDIT), ("primary", "NGN"), ("calls", "NGN"))

people = st.integers(0, PEOPLE - 1)
choices = st.integers(0, 99)


@dataclass
class Facts(Razorpay):
    """A gateway that is nothing but what it says. What goes back of a capture never exceeds it."""

    name = "razorpay"
    currencies: tuple[str, ...] = ("INR", "NGN")
    starts: dict[str, StartFact] = field(default_factory=dict)
    attempts: dict[str, AttemptFact] = field(default_factory=dict)
    gone: dict[str, RefundFact] = field(default_factory=dict)
    claims: dict[str, DisputeFact] = field(default_factory=dict)
    is_refusing: bool = False

    def is_configured(self) -> bool:
        return True

    def start(self, opening: Opening) -> StartFact:
        ref = f"order_{opening.reference}"
        return self.starts.setdefault(ref, StartFact(ref, opening.reference, opening.amount, opening.currency))

    def fetch(self, ref: str, *, dispute_refs: Sequence[str] = ()) -> Snapshot:
        mine = [fact for fact in self.attempts.values() if fact.start_ref == ref]
        refs = {fact.ref for fact in mine}
        given_back = [fact for fact in self.gone.values() if fact.attempt_ref in refs]
        return Snapshot(
            self.starts[ref], mine, given_back, [fact for fact in self.claims.values() if fact.attempt_ref in refs]
        )

    def refund(self, attempt_ref: str, *, amount: int, currency: str, refund_id: UUID, reason: str) -> RefundFact:
        if self.is_refusing:
            raise Rejected("it cannot be refunded", status=400)
        ref = f"rfnd_{next(_numbers)}"
        self.gone[ref] = RefundFact(ref, attempt_ref, RefundStatus.SENT, amount, currency, refund_id)
        return self.gone[ref]

    def find_refund(self, attempt_ref: str, refund_id: UUID) -> RefundFact | None:
        return next((fact for fact in self.gone.values() if fact.refund_id == refund_id), None)

    def left(self, attempt: AttemptFact) -> int:
        back = sum(r.amount for r in self.gone.values() if r.attempt_ref == attempt.ref and r.status != "failed")
        claimed = sum(c.amount for c in self.claims.values() if c.attempt_ref == attempt.ref and c.status != "won")
        return attempt.amount - back - claimed


class PaymentsMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.users: list[User] = [given.person() for _ in range(PEOPLE)]
        self.facts = Facts()
        gateways.GATEWAYS["razorpay"] = self.facts
        self.spent: dict[tuple[UUID, str], int] = defaultdict(int)
        self.holds: list[tuple[UUID, str, int, str]] = []

    def teardown(self) -> None:
        gateways.GATEWAYS["razorpay"] = Razorpay()
        books.check()

    def _all(self) -> list[Payment]:
        return list(Payment.objects.filter(user__in=self.users, gateway="razorpay").order_by("pk"))

    def _refresh(self, payment: Payment, **facts: Any) -> None:
        payments.refresh(payment, **facts)

    @rule(who=people, item=st.sampled_from(ITEMS), extra=st.sampled_from([0, 0, 100]), times=st.sampled_from([1, 1, 2]))
    def buy(self, who: int, item: str, extra: int, times: int) -> None:
        currency = "NGN" if item.startswith("wallet") else "INR"
        payment = payments.start(user=self.users[who], item=item, gateway="razorpay", currency=currency).payment
        order = payment.starts.get()
        owed = self._owed(payment)
        for _ in range(times):
            ref = f"pay_{next(_numbers)}"
            self.facts.attempts[ref] = AttemptFact(
                ref, str(order.ref), AttemptStatus.CAPTURED, payment.amount + extra, currency, at=len(ref)
            )
        self._refresh(payment)
        refunds.send_due()
        self._refresh(payment)
        assert self._owed(payment) == max(0, owed - self._goods(payment))

    @rule(n=choices)
    def end_lots(self, n: int) -> None:
        """What was bought with credits ends, as a subscription's does."""
        sold = [payment for payment in self._all() if payment.unit == CREDIT and payment.granted]
        if sold:
            payment = sold[n % len(sold)]
            ledger.end_lots(user_id=payment.user_id, source=("payment", payment.pk))

    @rule(who=people, amount=st.sampled_from([10_000, 20_000]))
    def move_to_calls(self, who: int, amount: int) -> None:
        user = self.users[who]
        try:
            payments.start(user=user, item=f"wallet:calls:{amount}", gateway="wallet")
        except (InsufficientFunds, DebtOutstanding):
            return
        self.spent[user.pk, "NGN"] += amount  # from primary; what it brings is counted with the payment

    @rule(who=people, where=st.sampled_from(UNITS), share=st.integers(1, 4), captures=st.booleans())
    def spend(self, who: int, where: tuple[str, str], share: int, captures: bool) -> None:
        user, (kind, unit) = self.users[who], where
        found = Wallet.objects.filter(user=user, kind=kind, unit=unit).first()
        amount = (found.available if found else 0) * share // 4
        if not amount:
            return
        try:
            key = given.held(user, amount, unit=unit, wallet_kind=kind)
        except (InsufficientCredits, InsufficientFunds, DebtOutstanding):
            return
        if captures:
            ledger.capture(key=key)
            self.spent[user.pk, unit] += amount
        else:
            self.holds.append((user.pk, unit, amount, key))

    @rule(captures=st.booleans())
    def end_hold(self, captures: bool) -> None:
        if self.holds:
            user_id, unit, amount, key = self.holds.pop()
            if captures:
                ledger.capture(key=key)
                self.spent[user_id, unit] += amount
            else:
                ledger.release(key=key)
            disputes.tend()

    @rule(n=choices, parts=st.integers(1, 3), keeps=st.booleans(), is_refused=st.sampled_from([False, False, True]))
    def refund(self, n: int, parts: int, keeps: bool = False, is_refused: bool = False) -> None:
        paid = [payment for payment in self._all() if payment.room]
        if paid:
            payment = paid[n % len(paid)]
            self.facts.is_refusing = is_refused
            try:
                refunds.request(
                    payment_id=payment.pk, amount=max(1, payment.room // parts), reason="asked", actor=None,
                    keeps_credits=keeps,
                )  # fmt: skip
            except RefundNotPossible:
                return  # a dispute is open, or it lies in two captures
            finally:
                self.facts.is_refusing = False

    @rule(n=choices, parts=st.integers(1, 3))
    def refund_in_the_dashboard(self, n: int, parts: int) -> None:
        found = [fact for fact in self.facts.attempts.values() if self.facts.left(fact) > 0]
        if found:
            fact = found[n % len(found)]
            amount = max(1, self.facts.left(fact) // parts)
            self.facts.refund(fact.ref, amount=amount, currency=fact.currency, refund_id=UUID(int=0), reason="")
            self._look(fact.ref)

    @rule(n=choices, status=st.sampled_from([RefundStatus.PROCESSED, RefundStatus.FAILED]))
    def a_refund_ends(self, n: int, status: RefundStatus) -> None:
        """Also one that was processed may bounce."""
        found = [ref for ref, fact in self.facts.gone.items() if fact.status is not RefundStatus.FAILED]
        if found:
            ref = found[n % len(found)]
            self.facts.gone[ref] = replace(self.facts.gone[ref], status=status)
            self._look(self.facts.gone[ref].attempt_ref)

    @rule(n=choices, parts=st.integers(1, 2))
    def dispute(self, n: int, parts: int) -> None:
        found = [fact for fact in self.facts.attempts.values() if self.facts.left(fact) > 0]
        if found:
            fact = found[n % len(found)]
            ref = f"disp_{next(_numbers)}"
            amount = max(1, self.facts.left(fact) // parts)
            self.facts.claims[ref] = DisputeFact(ref, fact.ref, DisputeStatus.OPEN, amount, fact.currency)
            self._look(fact.ref)

    @rule(n=choices, is_won=st.booleans())
    def decide(self, n: int, is_won: bool) -> None:
        """Also what was lost may be won after all."""
        found = [ref for ref, fact in self.facts.claims.items() if fact.status is not DisputeStatus.WON]
        if found:
            ref = found[n % len(found)]
            fact = self.facts.claims[ref]
            status = DisputeStatus.WON if is_won else DisputeStatus.LOST
            self.facts.claims[ref] = replace(fact, status=status, lost=0 if is_won else fact.amount)
            self._look(fact.attempt_ref)

    def _look(self, attempt_ref: str) -> None:
        payment = PaymentAttempt.objects.get(ref=attempt_ref).payment
        self._refresh(payment)

    # --- the oracle

    @invariant()
    def what_is_owned_less_what_is_owed_is_what_came_less_what_went(self) -> None:
        for user in getattr(self, "users", ()):
            for unit in (CREDIT, "NGN"):
                owned = Wallet.objects.filter(user=user, unit=unit).aggregate(n=Sum("balance"))["n"] or 0
                owed = Debt.objects.filter(user=user, unit=unit).aggregate(n=Sum("remaining"))["n"] or 0
                brought = sum(self._brought(payment) for payment in self._of(user) if payment.unit == unit)
                moved = Payment.objects.filter(user=user, gateway="wallet").aggregate(n=Sum("granted"))["n"] or 0
                expected = (
                    brought - self.spent[user.pk, unit] + (moved if unit == "NGN" else 0) + self._ended(user, unit)
                )
                assert owned - owed == expected, (unit, owned, owed, brought)

    @invariant()
    def nothing_is_frozen_for_what_is_over(self) -> None:
        waiting = set(Dispute.objects.filter(state="open").values_list("pk", flat=True))
        waiting |= set(Refund.objects.filter(state="requested").values_list("pk", flat=True))
        frozen = Freeze.objects.filter(state="open", wallet__user__in=getattr(self, "users", ()))
        assert set(frozen.values_list("subject_id", flat=True)) <= waiting

    def _owed(self, payment: Payment) -> int:
        owed = Debt.objects.filter(user=payment.user_id, unit=payment.unit).aggregate(n=Sum("remaining"))["n"]
        return int(owed or 0)

    def _ended(self, user: User, unit: str) -> int:
        ended = LedgerEntry.objects.filter(transaction__kind="expiry", wallet__user=user, wallet__unit=unit)
        return int(ended.aggregate(n=Sum("amount"))["n"] or 0)

    def _goods(self, payment: Payment) -> int:
        return payment.credits if payment.unit == CREDIT else payment.amount

    def _of(self, user: User) -> list[Payment]:
        return list(Payment.objects.filter(user=user, gateway="razorpay").prefetch_related("attempts", "refunds"))

    def _brought(self, payment: Payment) -> int:
        """From the gateway's facts alone: goods in full, less their share of the money that went back."""
        price = [row.ref for row in payment.attempts.all() if row.counts == "price"]
        if not price:
            return 0
        received = sum(self.facts.attempts[ref].amount for ref in price)
        goods = self._goods(payment)
        back = [fact for fact in self.facts.gone.values() if fact.attempt_ref in price and fact.status != "failed"]
        kept = {row.ref for row in payment.refunds.all() if row.keeps_credits}
        gone = sum(fact.amount for fact in back if fact.ref not in kept)
        gone += sum(fact.lost for fact in self.facts.claims.values() if fact.attempt_ref in price)
        excess = max(0, received - payment.amount)
        return goods - goods * min(payment.amount, max(0, gone - excess)) // payment.amount


# --- Stories that chance seldom tells: each yields where the oracle is to look

CREDITS, CALLS = UNITS[0], UNITS[2]
LOST, WON = False, True


def buy(it: PaymentsMachine, item: str = "package:BASIC") -> None:
    it.buy(0, item, 0, 1)


def a_refund_fails_after_it_was_processed(it: PaymentsMachine) -> Iterator[None]:
    buy(it)
    it.refund(0, parts=1)
    yield
    it.a_refund_ends(0, RefundStatus.PROCESSED)
    yield
    it.a_refund_ends(0, RefundStatus.FAILED)
    yield
    it.refund(0, parts=2)
    yield


def a_refund_of_what_was_spent_fails(it: PaymentsMachine) -> Iterator[None]:
    buy(it)
    it.spend(0, CREDITS, 3, captures=True)
    it.refund(0, parts=1)
    yield
    it.a_refund_ends(0, RefundStatus.FAILED)
    yield


def a_refund_is_refused(it: PaymentsMachine) -> Iterator[None]:
    buy(it)
    it.refund(0, parts=2, is_refused=True)
    yield
    it.refund(0, parts=1)
    yield


def parts_of_several_payments_go_back(it: PaymentsMachine) -> Iterator[None]:
    for item in ("package:BASIC", "credits:10", "wallet:calls:20000"):
        buy(it, item)
    it.spend(0, CREDITS, 1, captures=True)
    it.spend(0, CALLS, 2, captures=True)
    for _ in range(3):
        for n in range(3):
            it.refund(n, parts=3)
            yield
    it.refund_in_the_dashboard(1, parts=1)
    yield
    for n in range(4):
        it.a_refund_ends(2 * n, RefundStatus.FAILED)
        yield


def a_dispute_is_won(it: PaymentsMachine) -> Iterator[None]:
    buy(it)
    it.spend(0, CREDITS, 2, captures=False)
    it.dispute(0, parts=1)
    yield
    it.end_hold(captures=False)
    yield
    it.decide(0, WON)
    yield


def a_lost_dispute_is_won_late(it: PaymentsMachine) -> Iterator[None]:
    buy(it)
    it.spend(0, CREDITS, 3, captures=True)
    it.dispute(0, parts=1)
    yield
    it.decide(0, LOST)
    yield
    buy(it, "credits:10")
    yield
    it.decide(0, WON)
    yield
    it.spend(0, CREDITS, 4, captures=True)
    yield


def half_is_lost_and_then_the_rest_goes_back(it: PaymentsMachine) -> Iterator[None]:
    buy(it, "wallet:calls:20000")
    it.spend(0, CALLS, 1, captures=True)
    it.dispute(0, parts=2)
    it.decide(0, LOST)
    yield
    it.refund(0, parts=1)
    yield
    it.decide(0, WON)
    yield


def what_is_owed_is_repaid_in_parts(it: PaymentsMachine) -> Iterator[None]:
    buy(it)
    it.spend(0, CREDITS, 4, captures=True)
    it.refund(0, parts=1)
    yield
    for _ in range(2):
        buy(it, "credits:10")
        yield
    buy(it)
    yield
    it.a_refund_ends(0, RefundStatus.FAILED)
    yield


def what_ended_cannot_be_taken_back(it: PaymentsMachine) -> Iterator[None]:
    buy(it)
    it.spend(0, CREDITS, 1, captures=False)
    it.end_lots(0)
    yield
    it.end_hold(captures=False)
    yield
    it.refund(0, parts=2)
    yield
    buy(it, "credits:10")
    yield


STORIES: list[Callable[[PaymentsMachine], Iterator[None]]] = [
    a_refund_fails_after_it_was_processed,
    a_refund_of_what_was_spent_fails,
    a_refund_is_refused,
    parts_of_several_payments_go_back,
    a_dispute_is_won,
    a_lost_dispute_is_won_late,
    half_is_lost_and_then_the_rest_goes_back,
    what_is_owed_is_repaid_in_parts,
    what_ended_cannot_be_taken_back,
]


@pytest.mark.django_db
@pytest.mark.parametrize("story", STORIES)
def test_the_stories_end_as_they_should(story: Callable[[PaymentsMachine], Iterator[None]]) -> None:
    machine = PaymentsMachine()  # type: ignore[no-untyped-call]
    machine.begin()
    try:
        for _ in story(machine):
            machine.what_is_owned_less_what_is_owed_is_what_came_less_what_went()
            machine.nothing_is_frozen_for_what_is_over()
            books.check()
    finally:
        gateways.GATEWAYS["razorpay"] = Razorpay()


def run(*, examples: int, steps: int) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        PaymentsMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
            print_blob=False,
            phases=[Phase.generate],
        ),
    )


@pytest.mark.django_db
def test_no_sequence_of_payments_drifts() -> None:
    run(examples=8, steps=15)


@pytest.mark.deep
@pytest.mark.timeout(3600)
@pytest.mark.django_db
def test_no_sequence_of_payments_drifts_deep() -> None:
    run(examples=500, steps=50)

"""Any sequence of the ledger's operations, compared with the oracle after every step; the books checked at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest
from django.db import connection
from django.db.models import F, Sum
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from billing import books, ledger
from billing.errors import DebtOutstanding, HoldClosed, InsufficientCredits, InsufficientFunds, LedgerKeyMismatch
from billing.models import CreditLot, LedgerEntry
from core.ids import new_id
from tests.billing import given, oracle
from tests.books import check

PEOPLE = 2
REASONS = {
    InsufficientCredits: "insufficient",
    InsufficientFunds: "insufficient",
    DebtOutstanding: "debt_outstanding",
    HoldClosed: "closed",
    LedgerKeyMismatch: "mismatch",
}

amounts = st.integers(1, 30)
people = st.integers(0, PEOPLE - 1)
units = st.sampled_from(["CREDIT", "CREDIT", "CREDIT", "NGN"])
categories = st.sampled_from(["paid", "promo"])
# Days from now; -1 is over before it begins.
ends = st.sampled_from([None, None, 1, 2, -1])
# Which of what there is. Lists and not Hypothesis's bundles, since those know nothing of what `begin` has made.
choices = st.integers(0, 99)

# Both people's wallets, lots and debts in one round trip.
_STATE = """
SELECT u.id,
    (SELECT jsonb_object_agg(kind, jsonb_build_array(balance, held, frozen)) FROM billing_wallet
        WHERE user_id = u.id AND kind IN ('credits', 'primary')),
    (SELECT coalesce(jsonb_agg(jsonb_build_array(remaining, frozen) ORDER BY id), '[]') FROM billing_creditlot
        WHERE wallet_id IN (SELECT id FROM billing_wallet WHERE user_id = u.id)),
    (SELECT coalesce(jsonb_agg(jsonb_build_array(amount, remaining, waived) ORDER BY id), '[]') FROM billing_debt
        WHERE user_id = u.id)
FROM unnest(%s::uuid[]) AS u (id)
"""


@dataclass
class Sale:
    who: int
    unit: str
    source: UUID
    asked: dict[str, Any]
    lot: oracle.Lot | None


@dataclass
class Job:
    asked: dict[str, Any]
    model: oracle.Hold


@dataclass
class Claim:
    sale: Sale
    asked: dict[str, Any]
    model: oracle.Freeze


class LedgerMachine(RuleBasedStateMachine):
    @initialize(
        lots=st.lists(st.tuples(amounts, categories, ends), min_size=2, max_size=5),
        spent=amounts,
        is_blocking=st.booleans(),
    )
    def begin(self, lots: list[tuple[int, str, int | None]], spent: int, is_blocking: bool) -> None:
        """One person has lots of several kinds and a part of them held; the other owes for what was refunded."""
        self.users = [given.person() for _ in range(PEOPLE)]
        self.models = [oracle.Person() for _ in range(PEOPLE)]
        self.books = oracle.Books()
        self.house_before = self._house()
        self.began = datetime.now(UTC)
        self.sales: list[Sale] = []
        self.jobs: list[Job] = []
        self.claims: list[Claim] = []
        self.clawed: list[tuple[dict[str, Any], int, int]] = []
        self.debts: list[tuple[UUID, oracle.Debt]] = []
        for amount, category, day in lots:
            self._fund(0, amount, "CREDIT", category, day)
        self._hold(0, max(1, self.models[0].credits.available // 2), "CREDIT")
        self._fund(1, spent, "CREDIT", "paid", None)
        self._hold(1, spent, "CREDIT")
        self._capture(self.jobs[-1], None)
        self._claw_back(self.sales[-1], spent, is_blocking=is_blocking, claim=None)

    # --- money and credits in

    @rule(who=people, amount=amounts, unit=units, category=categories, day=ends)
    def fund(self, who: int, amount: int, unit: str, category: str, day: int | None) -> None:
        self._fund(who, amount, unit, category, day)

    def _fund(self, who: int, amount: int, unit: str, category: str, day: int | None) -> None:
        user, wallet, source = self.users[who], self._wallet(who, unit), new_id()
        if unit == "NGN":
            source = given.topped_up(user, amount)
            self.books.fund(wallet, amount, sale=str(source), category=None, ends=None, house="adjustment")
            self.sales.append(Sale(who, unit, source, {}, None))
            return
        asked: dict[str, Any] = {
            "category": category,
            "sale": source,
            "expires_at": None if day is None else given.later(days=day),
        }
        given.bought(user, amount, **asked)
        self.books.fund(
            wallet,
            amount,
            sale=str(source),
            category=category,
            ends=asked["expires_at"] and asked["expires_at"].timestamp(),
            house="promo" if category == "promo" else "issued",
        )
        self.sales.append(Sale(who, unit, source, asked | {"amount": amount}, wallet.lots[-1]))

    # --- spending

    @rule(who=people, amount=amounts, unit=units)
    def hold(self, who: int, amount: int, unit: str) -> None:
        self._hold(who, amount, unit)

    def _hold(self, who: int, amount: int, unit: str) -> None:
        asked = {
            "user_id": self.users[who].pk,
            "amount": amount,
            "key": f"job:{new_id()}",
            "subject": ("job", new_id()),
            "alarm_at": given.later(days=1),
        } | _of_unit(unit)
        wallet = self._wallet(who, unit)
        done = self._both(lambda: ledger.hold(**asked), lambda: self.books.hold(wallet, amount))
        if done is not None:
            assert done[0].available == wallet.available
            self.jobs.append(Job(asked, done[1]))

    @precondition(lambda self: self.jobs)
    @rule(choice=choices, to=amounts)
    def extend(self, choice: int, to: int) -> None:
        job = _pick(self.jobs, choice)

        def real() -> ledger.Extended:
            found = ledger.extend(key=job.asked["key"], to=to)
            if found.status != "ok":
                raise InsufficientCredits if found.status == "insufficient" else DebtOutstanding
            return found

        self._both(real, lambda: self.books.extend(job.model, to))

    @precondition(lambda self: self.jobs)
    @rule(choice=choices, part=st.none() | st.floats(0.01, 1))
    def capture(self, choice: int, part: float | None) -> None:
        self._capture(_pick(self.jobs, choice), part)

    def _capture(self, job: Job, part: float | None) -> None:
        amount = None if part is None else max(1, int(job.model.amount * part))
        done = self._both(
            lambda: ledger.capture(key=job.asked["key"], amount=amount), lambda: self.books.capture(job.model, amount)
        )
        if done is not None:
            assert (done[0].amount, done[0].available) == (done[1], job.model.wallet.available)

    @precondition(lambda self: self.jobs)
    @rule(choice=choices)
    def release(self, choice: int) -> None:
        job = _pick(self.jobs, choice)
        self._both(lambda: ledger.release(key=job.asked["key"]), lambda: self.books.release(job.model))

    # --- taking back

    @rule(choice=choices, amount=amounts)
    def freeze(self, choice: int, amount: int) -> None:
        sale = _pick(self.sales, choice)
        asked = self._of(sale) | {"amount": amount, "key": f"freeze:{new_id()}"}
        model = self.books.freeze(self._wallet(sale.who, sale.unit), sale.lot and str(sale.source), amount)
        assert ledger.freeze(**asked).amount == model.amount
        self.claims.append(Claim(sale, asked, model))

    @precondition(lambda self: self.claims)
    @rule(choice=choices)
    def freeze_more(self, choice: int) -> None:
        claim = _pick(self.claims, choice)
        self.books.freeze(claim.model.wallet, claim.model.sale, claim.model.wanted, known=claim.model)
        found = ledger.freeze(**claim.asked)
        assert (found.amount, found.state) == (claim.model.amount, claim.model.state)

    @precondition(lambda self: self.claims)
    @rule(choice=choices)
    def thaw(self, choice: int) -> None:
        claim = _pick(self.claims, choice)
        self._both(lambda: ledger.thaw(key=claim.asked["key"]), lambda: self.books.thaw(claim.model))
        self._learn_end(claim.sale)

    @rule(choice=choices, amount=amounts, is_blocking=st.booleans())
    def claw_back(self, choice: int, amount: int, is_blocking: bool) -> None:
        self._claw_back(_pick(self.sales, choice), amount, is_blocking=is_blocking, claim=None)

    @precondition(lambda self: self.claims)
    @rule(choice=choices, amount=amounts)
    def claw_back_what_is_frozen(self, choice: int, amount: int) -> None:
        claim = _pick(self.claims, choice)
        self._claw_back(claim.sale, amount, is_blocking=False, claim=claim)

    def _claw_back(self, sale: Sale, amount: int, *, is_blocking: bool, claim: Claim | None) -> None:
        house = "issued" if sale.lot else "adjustment"
        asked = self._of(sale) | {
            "amount": amount,
            "key": f"claw:{new_id()}",
            "is_blocking": is_blocking,
            "freeze_key": claim and claim.asked["key"],
            "house": house,
        }
        taken, owed = self.books.claw_back(
            self._wallet(sale.who, sale.unit),
            amount,
            sale=sale.lot and str(sale.source),
            freeze=claim and claim.model,
            is_blocking=is_blocking,
            house=house,
        )
        found = ledger.claw_back(**asked)
        assert (found.taken, found.owed) == (taken, owed)
        if found.debt_id:
            self.debts.append((found.debt_id, self.models[sale.who].debts[-1]))
        self._learn_end(sale)
        self.clawed.append((asked, taken, owed))

    # --- the rest

    @rule(who=people, amount=amounts, unit=units)
    def adjust_up(self, who: int, amount: int, unit: str) -> None:
        case, wallet = new_id(), self._wallet(who, unit)
        category = "promo" if unit == "CREDIT" else None
        self.books.fund(wallet, amount, sale=str(case), category=category, ends=None, house="adjustment")
        self._adjust(who, amount, unit, case)

    @rule(who=people, amount=amounts, unit=units)
    def adjust_down(self, who: int, amount: int, unit: str) -> None:
        lowered = self.books.lower(self._wallet(who, unit), amount)
        assert self._adjust(who, -amount, unit, new_id()).amount == -lowered

    def _adjust(self, who: int, amount: int, unit: str, case: UUID) -> ledger.Adjusted:
        asked: dict[str, Any] = {"user_id": self.users[who].pk, "amount": amount, "subject": ("case", case)}
        return ledger.adjust(**asked, key=f"adjust:{case}", memo="", **_of_unit(unit))

    @rule(who=people, amount=amounts)
    def transfer(self, who: int, amount: int) -> None:
        origin, target = who, (who + 1) % PEOPLE
        self._both(
            lambda: ledger.transfer(
                from_id=given.wallet(self.users[origin], "primary").pk,
                to_id=given.wallet(self.users[target], "primary").pk,
                amount=amount,
                key=f"transfer:{new_id()}",
                subject=("case", new_id()),
            ),
            lambda: self.books.transfer(self.models[origin].money, self.models[target].money, amount),
        )

    @rule(choice=choices)
    def end_source(self, choice: int) -> None:
        sale = _pick(self.sales, choice)
        if sale.lot is not None:
            gone = ledger.end_lots(user_id=self.users[sale.who].pk, source=("sale", sale.source))
            assert gone == self.books.end(self._wallet(sale.who, sale.unit), str(sale.source))
            # As if frozen in the moment in which it ended: else it would live on after thawing for the milliseconds
            # between the two, and nobody could say whether the next step still finds it.
            CreditLot.objects.filter(source_id=sale.source, frozen__gt=0).update(frozen_at=F("expires_at"))
            row = CreditLot.objects.get(source_id=sale.source)
            sale.lot.ends = row.expires_at and row.expires_at.timestamp()

    @rule(who=people)
    def expire(self, who: int) -> None:
        assert ledger.expire(user_id=self.users[who].pk) == self.books.expire(self.models[who].credits)

    @rule(choice=choices, is_waiver=st.booleans())
    def waive_or_repeat(self, choice: int, is_waiver: bool) -> None:
        """Give up a debt; or do something again that was done before, which changes nothing."""
        if is_waiver:
            pk, model = _pick(self.debts, choice)
            self.books.waive(model)
            ledger.waive(debt_id=pk, reason="goodwill")
            return
        asked, taken, owed = _pick(self.clawed, choice)
        again = ledger.claw_back(**asked)
        assert (again.taken, again.owed, again.is_replay) == (taken, owed, True)
        job = _pick(self.jobs, choice)
        self.books.expire(job.model.wallet)
        assert ledger.hold(**job.asked).is_replay
        sale = _pick(self.sales, choice)
        if sale.lot is not None:
            given.bought(self.users[sale.who], **sale.asked)
            with pytest.raises(LedgerKeyMismatch):
                given.bought(self.users[sale.who], **sale.asked | {"amount": sale.asked["amount"] + 1})

    # --- what must hold after every step

    @invariant()
    def agrees_with_the_oracle(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(_STATE, [[user.pk for user in self.users]])
            found = {row[0]: row[1:] for row in cursor.fetchall()}
        for user, model in zip(self.users, self.models, strict=True):
            wallets, lots, debts = map(orjson.loads, found[user.pk])
            for kind, wallet in (("credits", model.credits), ("primary", model.money)):
                assert wallets[kind] == [wallet.balance, wallet.held, wallet.frozen], kind
            assert lots == [[lot.remaining, lot.frozen] for lot in model.credits.lots]
            assert debts == [[debt.amount, debt.remaining, debt.waived] for debt in model.debts]

    def teardown(self) -> None:
        if hasattr(self, "users"):
            moved = {
                account: total - self.house_before.get(account, 0)
                for account, total in self._house().items()
                if total != self.house_before.get(account, 0)
            }
            assert moved == {account: total for account, total in self.books.house.items() if total}
            # Only what this run touched: all runs share one transaction, which the test checks whole at its end.
            report = books.run(since=self.began)
            assert report.is_clean, report.findings

    def _both(self, real: Callable[[], Any], model: Callable[[], Any]) -> tuple[Any, Any] | None:
        """Do it in both worlds; they refuse for the same reason, or both answer."""
        expected, answer, expected_reason, reason = None, None, None, None
        try:
            expected = model()
        except oracle.Refused as refused:
            expected_reason = refused.args[0]
        try:
            answer = real()
        except tuple(REASONS) as error:
            reason = REASONS[type(error)]
        assert reason == expected_reason, f"{answer=}, {expected=}"
        return None if reason else (answer, expected)

    def _learn_end(self, sale: Sale) -> None:
        """The time that thawing gives back is measured by the database: take its word, within reason."""
        if sale.lot is not None and sale.lot.ends is not None:
            end = CreditLot.objects.values_list("expires_at", flat=True).get(source_id=sale.source)
            assert end is not None
            assert -0.001 < end.timestamp() - sale.lot.ends < 600
            sale.lot.ends = end.timestamp()

    def _wallet(self, who: int, unit: str) -> oracle.Wallet:
        return self.models[who].credits if unit == "CREDIT" else self.models[who].money

    def _of(self, sale: Sale) -> dict[str, Any]:
        source = ("sale", sale.source) if sale.lot else None
        return {
            "user_id": self.users[sale.who].pk,
            "subject": ("refund", sale.source),
            "source": source,
        } | _of_unit(sale.unit)

    def _house(self) -> dict[tuple[str, str], int]:
        sums = LedgerEntry.objects.filter(wallet__user=None).values_list("wallet__kind", "wallet__unit")
        return {(kind, unit): total for kind, unit, total in sums.annotate(total=Sum("amount"))}


def _of_unit(unit: str) -> dict[str, Any]:
    return {"unit": unit, "wallet_kind": "credits" if unit == "CREDIT" else "primary"}


def _pick(things: list[Any], choice: int) -> Any:
    return things[choice % len(things)]


@pytest.mark.django_db
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("runs", "steps"), [(40, 40), pytest.param(1000, 60, marks=pytest.mark.deep)], ids=["quick", "deep"]
)
def test_the_ledger_agrees_with_its_oracle(runs: int, steps: int) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        LedgerMachine,
        settings=settings(
            max_examples=runs,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            print_blob=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
    check()

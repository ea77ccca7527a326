"""The ledger's rules once more, as plain Python over numbers: what PostgreSQL must agree with, operation by operation.

Written from the rules and not from the SQL; knows nothing of rows, locks or statements.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field


class Refused(Exception):
    """`args[0]`: insufficient, debt_outstanding, mismatch or closed."""


@dataclass
class Lot:
    sale: str
    category: str
    remaining: int
    ends: float | None
    number: int
    frozen: int = 0

    @property
    def free(self) -> int:
        return self.remaining - self.frozen

    @property
    def turn(self) -> tuple[float, bool, int]:
        return (float("inf") if self.ends is None else self.ends, self.category != "promo", self.number)


@dataclass
class Hold:
    wallet: Wallet
    opened_with: int
    amount: int
    state: str = "open"
    captured: int = 0


@dataclass
class Freeze:
    wallet: Wallet
    sale: str | None
    wanted: int
    amount: int = 0
    state: str = "open"


@dataclass
class Debt:
    unit: str
    amount: int
    remaining: int
    is_blocking: bool
    waived: int = 0


@dataclass
class Wallet:
    owner: Person
    unit: str
    balance: int = 0
    lots: list[Lot] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    freezes: list[Freeze] = field(default_factory=list)

    @property
    def held(self) -> int:
        return sum(hold.amount for hold in self.holds if hold.state == "open")

    @property
    def frozen(self) -> int:
        return sum(freeze.amount for freeze in self.freezes if freeze.state == "open")

    @property
    def available(self) -> int:
        return self.balance - self.held - self.frozen

    def of(self, sale: str | None) -> list[Lot]:
        return [lot for lot in self.lots if lot.sale == sale]


@dataclass
class Person:
    credits: Wallet = field(init=False)
    money: Wallet = field(init=False)
    debts: list[Debt] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.credits, self.money = Wallet(self, "CREDIT"), Wallet(self, "NGN")

    @property
    def is_blocked(self) -> bool:
        return any(debt.remaining and debt.is_blocking for debt in self.debts)


@dataclass
class Books:
    house: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    lots_made: int = 0

    def _move(self, wallet: Wallet, amount: int, house: str) -> None:
        wallet.balance += amount
        self.house[house, wallet.unit] -= amount

    def expire(self, wallet: Wallet) -> int:
        covered, gone = wallet.held, 0
        for lot in sorted(wallet.lots, key=lambda lot: lot.turn):
            if lot.ends is not None and lot.ends <= time.time():
                take = max(0, lot.free - covered)
                covered = max(0, covered - lot.free)
                lot.remaining -= take
                gone += take
        self._move(wallet, -gone, "expired")
        return gone

    def fund(
        self, wallet: Wallet, amount: int, *, sale: str, category: str | None, ends: float | None, house: str
    ) -> int:
        self._move(wallet, amount, house)
        repaid = 0
        if category != "promo":
            for debt in wallet.owner.debts:
                if debt.unit == wallet.unit:
                    take = min(debt.remaining, amount - repaid)
                    debt.remaining -= take
                    repaid += take
            self._move(wallet, -repaid, "issued" if wallet.unit == "CREDIT" else "writeoff")
        if category is not None:
            self.lots_made += 1
            wallet.lots.append(Lot(sale, category, amount - repaid, ends, self.lots_made))
        return repaid

    def hold(self, wallet: Wallet, amount: int) -> Hold:
        self.expire(wallet)
        if wallet.owner.is_blocked:
            raise Refused("debt_outstanding")
        if wallet.available < amount:
            raise Refused("insufficient")
        hold = Hold(wallet, amount, amount)
        wallet.holds.append(hold)
        return hold

    def extend(self, hold: Hold, to: int) -> None:
        if hold.state != "open":
            raise Refused("closed")
        self.expire(hold.wallet)
        if to <= hold.amount:
            return
        if hold.wallet.owner.is_blocked:
            raise Refused("debt_outstanding")
        if hold.wallet.available < to - hold.amount:
            raise Refused("insufficient")
        hold.amount = to

    def capture(self, hold: Hold, amount: int | None) -> int:
        if hold.state == "released":
            raise Refused("closed")
        if hold.state == "captured":
            if amount not in (None, hold.captured):
                raise Refused("mismatch")
            return hold.captured
        amount = hold.amount if amount is None else amount
        self._burn(hold.wallet, amount)
        self._move(hold.wallet, -amount, "spent" if hold.wallet.unit == "CREDIT" else "sales")
        hold.state, hold.captured = "captured", amount
        self.expire(hold.wallet)
        return amount

    def release(self, hold: Hold) -> None:
        if hold.state == "captured":
            raise Refused("closed")
        if hold.state == "open":
            hold.state = "released"
            self.expire(hold.wallet)

    def freeze(self, wallet: Wallet, sale: str | None, wanted: int, known: Freeze | None = None) -> Freeze:
        freeze = known or Freeze(wallet, sale, wanted)
        if known is None:
            wallet.freezes.append(freeze)
        self.expire(wallet)
        if freeze.state != "open":
            return freeze
        more = min(freeze.wanted - freeze.amount, wallet.available)
        if sale is not None:
            more = min(more, sum(lot.free for lot in wallet.of(sale)))
            self._spread(wallet.of(sale), more, freeze=True)
        freeze.amount += more
        return freeze

    def thaw(self, freeze: Freeze) -> None:
        if freeze.state == "taken":
            raise Refused("closed")
        if freeze.state == "open":
            self._end(freeze, "thawed")
            self.expire(freeze.wallet)

    def claw_back(
        self, wallet: Wallet, amount: int, *, sale: str | None, freeze: Freeze | None, is_blocking: bool, house: str
    ) -> tuple[int, int]:
        if freeze is not None and freeze.state == "open":
            self._end(freeze, "taken")
        take = min(amount, wallet.available)
        if sale is not None:
            take = min(take, sum(lot.free for lot in wallet.of(sale)))
            self._spread(wallet.of(sale), take, freeze=False)
        self._move(wallet, -take, house)
        owed = amount - take
        if owed:
            wallet.owner.debts.append(Debt(wallet.unit, owed, owed, is_blocking))
            if wallet.unit != "CREDIT":
                self.house[house, wallet.unit] += owed
                self.house["writeoff", wallet.unit] -= owed
        self.expire(wallet)
        return take, owed

    def lower(self, wallet: Wallet, amount: int) -> int:
        self.expire(wallet)
        take = min(amount, wallet.available)
        self._burn(wallet, take)
        self._move(wallet, -take, "adjustment")
        return take

    def transfer(self, origin: Wallet, target: Wallet, amount: int) -> None:
        if origin.owner.is_blocked:
            raise Refused("debt_outstanding")
        if origin.available < amount:
            raise Refused("insufficient")
        origin.balance -= amount
        target.balance += amount

    def end(self, wallet: Wallet, sale: str | None) -> int:
        for lot in wallet.lots if sale is None else wallet.of(sale):
            if lot.remaining and (lot.ends is None or lot.ends > time.time()):
                lot.ends = time.time()
        return self.expire(wallet)

    def waive(self, debt: Debt) -> None:
        debt.waived += debt.remaining
        debt.remaining = 0

    def _burn(self, wallet: Wallet, amount: int) -> None:
        if wallet.unit == "CREDIT":
            left = amount
            for lot in sorted(wallet.lots, key=lambda lot: lot.turn):
                take = min(left, lot.free)
                lot.remaining -= take
                left -= take
            assert left == 0, "the oracle itself has promised what is not there"

    def _end(self, freeze: Freeze, state: str) -> None:
        left = freeze.amount if freeze.sale is not None else 0
        for lot in freeze.wallet.of(freeze.sale):
            give = min(left, lot.frozen)
            lot.frozen -= give
            left -= give
        freeze.state = state

    def _spread(self, lots: list[Lot], amount: int, *, freeze: bool) -> None:
        for lot in lots:
            take = min(amount, lot.free)
            if freeze:
                lot.frozen += take
            else:
                lot.remaining -= take
            amount -= take

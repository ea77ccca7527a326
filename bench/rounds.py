"""Fair comparison on a noisy machine: everybody measured in every round, in another order each time.

A ratio is taken inside a round, where both met the same weather; what is told is the median of the rounds' ratios and
their spread. Absolute figures say more about the machine than about the code, so none are printed.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Spread:
    """The median of some figures, and where their middle half and their extremes lie."""

    median: float
    quartiles: tuple[float, float]
    extremes: tuple[float, float]

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        low, _, high = statistics.quantiles(figures, n=4) if len(figures) > 1 else (figures[0],) * 3
        return cls(statistics.median(figures), (low, high), (min(figures), max(figures)))

    def __str__(self) -> str:
        (low, high), (least, most) = self.quartiles, self.extremes
        return f"{self.median:.2f} x (middle half {low:.2f} to {high:.2f}, all {least:.2f} to {most:.2f})"


def run(contenders: Mapping[str, Callable[[], T]], *, rounds: int, seed: int = 1) -> dict[str, list[T]]:
    """Measure each contender once per round, in shuffled order; the figures stand in the rounds' order."""
    order = random.Random(seed)
    found: dict[str, list[T]] = {name: [] for name in contenders}
    for _ in range(rounds):
        names = list(contenders)
        order.shuffle(names)
        for name in names:
            found[name].append(contenders[name]())
    return found


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Ours over theirs, round by round."""
    return Spread.of([mine / other for mine, other in zip(ours, theirs, strict=True)])


def verdict(name: str, found: Spread, goal: float) -> str:
    """One line of the result."""
    return f"{name:<44} {found}   goal ≥ {goal:g}: {'met' if found.median >= goal else 'MISSED'}"

"""What seconds cost, and how many an amount pays for."""

from __future__ import annotations

import pytest

from calls import terms


@pytest.mark.parametrize(
    ("seconds", "naira"), [(0, 0), (1, 1), (6, 1), (7, 2), (59, 10), (60, 10), (61, 11), (65, 11), (66, 11), (67, 12)]
)
def test_by_the_second_in_whole_naira(seconds: int, naira: int) -> None:
    assert terms.cost(seconds, rate=1000, strategy="per_second") == naira * 100


@pytest.mark.parametrize(("seconds", "naira"), [(0, 0), (1, 10), (60, 10), (61, 20), (120, 20), (121, 30)])
def test_by_the_started_minute(seconds: int, naira: int) -> None:
    assert terms.cost(seconds, rate=1000, strategy="per_started_minute") == naira * 100


@pytest.mark.parametrize("strategy", terms.Strategy.values)
@pytest.mark.parametrize("rate", [100, 700, 1000, 1500, 60_000])
def test_what_is_paid_for_costs_no_more_and_a_second_more_would(strategy: str, rate: int) -> None:
    for amount in [*range(0, 5000, 50), 123_456]:
        seconds = terms.paid_seconds(amount, rate=rate, strategy=strategy)
        assert terms.cost(seconds, rate=rate, strategy=strategy) <= amount
        assert terms.cost(seconds + 1, rate=rate, strategy=strategy) > amount

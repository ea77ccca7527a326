"""The whole price table against an independent oracle, and no order is ever charged more than it was quoted."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal
from typing import Any

import pytest
from django.core import signing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import User
from core.errors import Invalid
from generation import operations, quotes
from generation.errors import NotSold, QuoteMismatch
from generation.models import Operation

# As the product's price list puts it, each in its own words; no part of the code reads this.
QUALITIES = {"standard": Decimal("1"), "hd": Decimal("1.5"), "premium": Decimal("2")}
SIZES = {
    "256x256": Decimal(1),
    "512x512": Decimal(1),
    "1024x1024": Decimal(1),
    "1920x1080": Decimal("1.5"),
    "2048x2048": Decimal(2),
}
FILMS = {(5, "720p"): 20, (5, "1080p"): 25, (8, "720p"): 30}


def oracle(code: str, params: dict[str, Any]) -> int | None:
    """What the price list says; None for what it does not sell."""
    match code:
        case "headshot":
            return 50
        case "image":
            factor = QUALITIES[params.get("quality", "standard")] * SIZES[params.get("size", "1024x1024")]
            return int((5 * factor * params.get("count", 1)).to_integral_value(ROUND_CEILING))
        case "video.xai":
            sixes, rest = divmod(params.get("duration", 6), 6)
            return 15 * (sixes + (1 if rest else 0))
        case "video.kie":
            return FILMS.get((params.get("duration", 5), params.get("quality", "720p")))
        case "avatar":
            return 10
        case "avatar.thumbnail":
            return 5
        case "model3d":
            return 40
    raise AssertionError(f"the price list does not know {code}")


def some(**choices: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=choices)


PRICED = {
    "headshot": some(style_prompt=st.just("warm light")),
    "image": some(
        quality=st.sampled_from(sorted(QUALITIES)), size=st.sampled_from(sorted(SIZES)), count=st.integers(1, 4)
    ),
    "video.xai": some(duration=st.integers(3, 30), with_audio=st.booleans()),
    "video.kie": some(duration=st.sampled_from([5, 8]), quality=st.sampled_from(["720p", "1080p"])),
    "avatar": some(),
    "avatar.thumbnail": some(),
    "model3d": some(),
}
ASKED = st.sampled_from(sorted(PRICED)).flatmap(lambda code: st.tuples(st.just(code), PRICED[code]))
many = settings(
    deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def sold(db: None) -> dict[str, Operation]:
    return {operation.code: operation for operation in Operation.objects.all()}


def priced(operation: Operation, params: dict[str, Any]) -> int | None:
    try:
        return operations.price(operation, operations.complete(operation, params, is_order=False))
    except NotSold:
        return None


def test_everything_sold_is_on_the_price_list(sold: dict[str, Operation]) -> None:
    assert sorted(sold) == sorted(PRICED)


@given(asked=ASKED)
@many
def test_every_price_is_the_lists(sold: dict[str, Operation], asked: tuple[str, dict[str, Any]]) -> None:
    code, params = asked

    assert priced(sold[code], params) == oracle(code, params)


def test_every_combination_of_films_and_pictures(sold: dict[str, Operation]) -> None:
    for quality in QUALITIES:
        for size in SIZES:
            for count in range(1, 5):
                params: dict[str, Any] = {"quality": quality, "size": size, "count": count}
                assert priced(sold["image"], params) == oracle("image", params)
    for seconds in range(3, 31):
        assert priced(sold["video.xai"], {"duration": seconds}) == oracle("video.xai", {"duration": seconds})
    found = {
        (seconds, quality): priced(sold["video.kie"], {"duration": seconds, "quality": quality})
        for seconds in (5, 8)
        for quality in ("720p", "1080p")
    }
    assert found == {**FILMS, (8, "1080p"): None}
    assert priced(sold["image"], {"quality": "hd"}) == 8


@given(
    asked=ASKED,
    ordered=ASKED,
    base_price=st.integers(1, 500),
    factors=st.lists(st.integers(1, 40), min_size=4, max_size=4),
)
@many
def test_nobody_is_charged_more_than_quoted(
    sold: dict[str, Operation],
    alice: User,
    asked: tuple[str, dict[str, Any]],
    ordered: tuple[str, dict[str, Any]],
    base_price: int,
    factors: list[int],
) -> None:
    """Whatever happens to the price list in between: a quote holds, for what it was asked for and for nothing else."""
    (code, params), (other_code, other_params) = asked, ordered
    operation = sold[code]
    if priced(operation, params) is None:
        return
    said = operations.complete(operation, params, is_order=False)
    quote = quotes.offer(user=alice, operation=operation, params=said)

    edited = _edited(operation, base_price, factors)
    charged = quotes.honour(quote.token, user=alice, operation=edited, params=said)

    assert charged <= quote.price
    assert charged == min(quote.price, operations.price(edited, said))
    other = sold[other_code]
    wanted = operations.complete(other, other_params, is_order=False)
    if priced(other, other_params) is None:
        return
    is_same = (code, operations.priced_params(operation, said)) == (
        other_code,
        operations.priced_params(other, wanted),
    )
    if is_same:
        assert quotes.honour(quote.token, user=alice, operation=other, params=wanted) == quote.price
    else:
        with pytest.raises(QuoteMismatch):
            quotes.honour(quote.token, user=alice, operation=other, params=wanted)


def _edited(operation: Operation, base_price: int, factors: list[int]) -> Operation:
    """The operation after staff have been at its prices."""
    rules = {name: dict(rule) for name, rule in operation.multipliers.items()}
    rest = iter(factors)
    for rule in rules.values():
        if "choices" in rule:
            rule["choices"] = {name: str(Decimal(next(rest, 1)) / 10) for name in rule["choices"]}
        if "table" in rule:
            rule["table"] = {
                one: {two: str(Decimal(next(rest, 1)) / 10) for two in row} for one, row in rule["table"].items()
            }
    kept = {name: getattr(operation, name) for name in ("code", "kind", "provider", "model", "limits")}
    return Operation(base_price=base_price, multipliers=rules, **kept)


def test_a_quote_without_the_usual_values_is_for_an_order_with_them(alice: User, sold: dict[str, Operation]) -> None:
    image = sold["image"]
    quote = quotes.offer(user=alice, operation=image, params=operations.complete(image, {}, is_order=False))

    full = operations.complete(image, {"prompt": "A paper boat", "size": "1024x1024", "count": 1})

    assert quotes.honour(quote.token, user=alice, operation=image, params=full) == 5
    assert signing.loads(quote.token, salt="generation.quote")["p"] == 5


@pytest.mark.parametrize(
    ("code", "params", "problem"),
    [
        ("image", {"prompt": "boat"}, ("min_length", "prompt")),
        ("image", {"prompt": "    a    "}, ("min_length", "prompt")),
        ("image", {"prompt": "x" * 2001}, ("max_length", "prompt")),
        ("image", {}, ("required", "prompt")),
        ("image", {"prompt": "A boat", "size": "4096x4096"}, ("invalid_choice", "size")),
        ("image", {"prompt": "A boat", "count": 0}, ("out_of_range", "count")),
        ("image", {"prompt": "A boat", "duration": 5}, ("unknown_parameter", "duration")),
        ("video.xai", {"duration": 31}, ("out_of_range", "duration")),
        ("video.xai", {"duration": 2}, ("out_of_range", "duration")),
        ("video.xai", {"style": "noir"}, ("invalid_choice", "style")),
        ("video.xai", {"triggers": ["ice"]}, ("unknown_parameter", "triggers")),
        ("video.kie", {"prompt": "x" * 9}, ("min_length", "prompt")),
        ("video.kie", {"prompt": "x" * 1801}, ("max_length", "prompt")),
        ("video.kie", {"prompt": "A long prompt", "duration": 5.0}, ("invalid_choice", "duration")),
        ("video.kie", {"prompt": "A long prompt", "duration": 6}, ("invalid_choice", "duration")),
        ("video.kie", {"prompt": "A long prompt", "triggers": ["soap", "ice", "water", "honey"]}, None),
        ("video.kie", {"prompt": "A long prompt", "triggers": ["soap", "soap"]}, None),
        ("video.kie", {"prompt": "A long prompt", "triggers": ["lava"]}, None),
        ("video.kie", {"prompt": "A long prompt", "triggers": "soap"}, None),
        ("video.kie", {"prompt": "A long prompt", "triggers": [["soap"]]}, None),
        ("video.kie", {"prompt": "A long prompt", "water_mark": "x" * 101}, ("max_length", "water_mark")),
        ("video.kie", {"prompt": "A long prompt", "style": "natural"}, ("unknown_parameter", "style")),
    ],
)
def test_limits_are_the_sold_ones(
    sold: dict[str, Operation], code: str, params: dict[str, Any], problem: tuple[str, str] | None
) -> None:
    with pytest.raises(Invalid) as refusal:
        operations.complete(sold[code], params)

    (item,) = refusal.value.details
    assert (item["code"], item["field"]) == (problem or ("invalid_choice", "triggers"))

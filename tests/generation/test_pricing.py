"""What an operation costs, what its parameters may be, and what a quote is worth."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from accounts.models import User
from core import clock
from core.errors import Invalid
from generation import operations, quotes
from generation.errors import OperationUnavailable, QuoteExpired, QuoteMismatch
from generation.models import Kind, Operation

LIMITS = {
    "prompt": {"type": "text", "max_length": 10, "required": True},
    "quality": {"type": "choice", "choices": ["standard", "hd", "premium"]},
    "size": {"type": "choice", "choices": ["1024x1024", "1920x1080", "2048x2048"]},
    "count": {"type": "integer", "min": 1, "max": 4},
    "audio": {"type": "boolean"},
}
MULTIPLIERS = {
    "quality": {"choices": {"hd": "1.5", "premium": "2"}},
    "size": {"choices": {"1920x1080": "1.5", "2048x2048": "2"}},
    "count": {"each": True},
}


def image() -> Operation:
    return Operation(code="image", kind="headshot", base_price=5, limits=LIMITS, multipliers=MULTIPLIERS)


@pytest.mark.parametrize(
    ("params", "price"),
    [
        ({}, 5),
        ({"quality": "standard"}, 5),
        ({"quality": "hd"}, 8),
        ({"quality": "premium", "size": "2048x2048"}, 20),
        ({"quality": "hd", "size": "1920x1080"}, 12),
        ({"quality": "hd", "size": "1920x1080", "count": 3}, 34),
        ({"count": 4}, 20),
        ({"prompt": "x", "audio": True}, 5),
    ],
)
def test_the_price_is_rounded_up_once_at_the_end(params: dict[str, Any], price: int) -> None:
    assert operations.price(image(), params) == price


@pytest.mark.parametrize(("seconds", "price"), [(3, 15), (6, 15), (7, 30), (12, 30), (30, 75)])
def test_started_units_are_counted(seconds: int, price: int) -> None:
    video = Operation(code="video", base_price=15, multipliers={"duration": {"per": 6}})

    assert operations.price(video, {"duration": seconds}) == price


@pytest.mark.parametrize(
    ("params", "code", "field"),
    [
        ({}, "required", "prompt"),
        ({"prompt": "x" * 11}, "max_length", "prompt"),
        ({"prompt": 5}, "invalid", "prompt"),
        ({"prompt": "x", "quality": "best"}, "invalid_choice", "quality"),
        ({"prompt": "x", "count": 5}, "out_of_range", "count"),
        ({"prompt": "x", "count": 1.0}, "out_of_range", "count"),
        ({"prompt": "x", "count": True}, "out_of_range", "count"),
        ({"prompt": "x", "audio": "yes"}, "invalid", "audio"),
        ({"prompt": "x", "seed": 1}, "unknown_parameter", "seed"),
    ],
)
def test_parameters_are_held_against_the_limits(params: dict[str, Any], code: str, field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        operations.complete(image(), params)

    (item,) = refusal.value.details
    assert (item["code"], item["field"]) == (code, field)


def test_good_parameters_pass_and_texts_are_what_moderation_reads() -> None:
    params = {"prompt": "a cat", "quality": "hd", "count": 2, "audio": False}

    operations.complete(image(), params)

    assert operations.texts(image(), params) == {"prompt": "a cat"}


def test_a_quote_holds_for_ten_minutes_and_its_parameters(
    alice: User, bob: User, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = image()
    params = {"prompt": "a cat", "quality": "hd"}
    quote = quotes.offer(user=alice, operation=operation, params=params)
    assert quote.price == 8

    def honour(user: User = alice, **changed: Any) -> int:
        return quotes.honour(quote.token, user=user, operation=operation, params=params | changed)

    assert honour() == honour() == 8
    assert honour(prompt="a dog") == 8  # it is not priced
    operation.base_price = 2
    assert honour() == 3
    operation.base_price = 50
    assert honour() == 8
    for wrong in ({"quality": "premium"}, {"count": 2}, {"user": bob}):
        with pytest.raises(QuoteMismatch):
            honour(**wrong)
    with pytest.raises(QuoteMismatch):
        quotes.honour(quote.token + "x", user=alice, operation=operation, params=params)
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + timedelta(minutes=9, seconds=58))
    assert honour() == 8
    monkeypatch.setattr(clock, "now", lambda: now + timedelta(minutes=10, seconds=1))
    with pytest.raises(QuoteExpired):
        honour()


def test_which_operation_is_ordered(db: None, settings: Any) -> None:
    settings.MAGIC_HOUR_API_KEY = "mhk_test"
    assert operations.choose(Kind.HEADSHOT).code == "headshot"
    assert operations.named("headshot").code == "headshot"
    with pytest.raises(Invalid):
        operations.choose(Kind.HEADSHOT, "video")
    with pytest.raises(Invalid):
        operations.named("video")
    Operation.objects.update(provider="nobody")
    with pytest.raises(OperationUnavailable):
        operations.choose(Kind.HEADSHOT)
    Operation.objects.update(provider="magic-hour", is_default=False)
    with pytest.raises(OperationUnavailable):
        operations.choose(Kind.HEADSHOT)

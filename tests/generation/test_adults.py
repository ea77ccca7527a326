"""Whom a text describes; and what of a chat model's answer becomes a profile."""

from __future__ import annotations

from typing import Any

import pytest

from generation import adults, profiles
from generation.errors import Moderated

MINORS = (
    "a 15-year-old girl",
    "Fifteen years old, freckles",
    "17yo idol",
    "16 y.o. redhead",
    "aged 12",
    "age: 9",
    "at the age of nine",
    "a small child with red hair",
    "SCHOOLGIRL uniform",
    "school girl",
    "she is a minor",
    "a teen idol",
    "two teenagers",
    "under-age",
    "\uff43\uff48\uff49\uff4c\uff44",  # full-width letters
    "a little boy",
)
GROWN_UP = (
    "a twenty-one-year-old painter",
    "21 years old",
    "aged 30",
    "Age 45",
    "a hundred and 118 years old",
    "loves children, hates kidney pie",
    "a minor scar on the chin",
    "sings in A minor key",
    "a young woman with a boyish grin",
    "a girl with a pearl earring",
    "born in 2001, twelve tattoos, 5 rings",
)


@pytest.mark.parametrize("text", MINORS)
def test_a_minor_is_recognised(text: str) -> None:
    assert adults.describes_a_minor(f"Mira, {text}.")


@pytest.mark.parametrize("text", GROWN_UP)
def test_a_grown_up_is_left_alone(text: str) -> None:
    assert not adults.describes_a_minor(f"Mira, {text}.")


def test_the_refusal_names_the_fields() -> None:
    with pytest.raises(Moderated) as refusal:
        adults.check({"name": "Mira", "description": "fourteen years old", "style": "a toddler"})

    assert [item["field"] for item in refusal.value.details] == ["description", "style"]


def answer(**changes: Any) -> dict[str, Any]:
    texts = {name: f"{name} of somebody" for name in profiles.TEXTS}
    return {**texts, "content_themes": ["botany", "travel"], "age_range": "40-49", **changes}


def test_a_profile_is_plain_bounded_text_of_known_fields() -> None:
    found = profiles.checked(
        answer(hair="dark,\x00\u202e silver\n streak", eyes="x" * 999, content_themes=["a"] * 20, shoe_size=42)
    )

    assert set(found) == set(profiles.SCHEMA["required"])
    assert found["hair"] == "dark, silver streak"
    assert len(found["eyes"]) == profiles.TEXTS["eyes"]
    assert len(found["content_themes"]) == profiles.THEMES_MAX


@pytest.mark.parametrize(
    "changes",
    [{"hair": None}, {"hair": ""}, {"hair": " \x00"}, {"hair": 7}, {"content_themes": "botany"}, {"name": ["Mira"]}],
)
def test_an_answer_that_is_no_profile_is_unusable(changes: dict[str, Any]) -> None:
    with pytest.raises(profiles.Unusable):
        profiles.checked(answer(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"age_range": "13-17"},
        {"age_range": None},
        {"age_range": "18-20"},
        {"base_prompt": "A 15-year-old with red hair."},
        {"content_themes": ["school", "teenage life"]},
    ],
)
def test_a_profile_of_a_minor_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(profiles.OfAMinor):
        profiles.checked(answer(**changes))


def test_every_picture_says_who_and_how_old() -> None:
    profile = profiles.checked(answer(base_prompt="A woman with a silver streak."))

    for prompt in (profiles.portrait_of(profile), profiles.likeness_of(profile)):
        assert prompt.startswith("A woman with a silver streak.")
        assert "40-49 years old" in prompt

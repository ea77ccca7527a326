"""An avatar's profile: what the chat model is asked for, and what of its answer is kept. Nothing here asks anybody."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from generation import adults

# Adults only. The youngest range begins well past eighteen, since pictures make people younger.
AGE_RANGES = ("21-29", "30-39", "40-49", "50-59", "60-69", "70+")

# field → its longest text; the order is the order in which it is shown
TEXTS: dict[str, int] = {
    "name": 100,
    "physical_description": 800,
    "personality": 600,
    "style": 300,
    "base_prompt": 1000,
    "hair": 200,
    "eyes": 200,
    "clothing": 300,
    "setting": 300,
}
THEMES_MAX, THEME_LENGTH = 8, 80

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        **{name: {"type": "string"} for name in TEXTS},
        "content_themes": {"type": "array", "items": {"type": "string"}},
        "age_range": {"type": "string", "enum": list(AGE_RANGES)},
    },
    "required": [*TEXTS, "content_themes", "age_range"],
    "additionalProperties": False,
}

INSTRUCTION = (
    "You design a fictional person whose pictures a customer wants to have made. Answer with the profile alone. "
    "The person is an adult, is nobody who exists, and suits any audience: nothing sexual, violent or hateful. "
    "Where the customer leaves something open, decide it. Keep the customer's name for the person. "
    "base_prompt describes face, hair, eyes, build and usual clothing in one paragraph for an image model, so exactly "
    "that every picture made from it shows the same person; it says the age in years and no name."
)


class Unusable(Exception):
    """The answer is not a profile."""


class OfAMinor(Exception):
    """The profile is of somebody who is not grown up."""


def request_for(params: Mapping[str, Any]) -> str:
    """The customer's wishes as the chat model reads them."""
    lines = [f"Name: {params['name']}", f"Description: {params['description']}"]
    return "\n".join([*lines, f"Style: {params['style']}"] if params.get("style") else lines)


def checked(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The profile in the answer: its known fields, as plain text of bounded length.

    Raises: Unusable when one is missing or of another kind, OfAMinor.
    """
    profile: dict[str, Any] = {name: _text(answer.get(name), longest) for name, longest in TEXTS.items()}
    themes = answer.get("content_themes")
    if not isinstance(themes, list):
        raise Unusable("content_themes is not a list")
    profile["content_themes"] = [_text(theme, THEME_LENGTH) for theme in themes[:THEMES_MAX]]
    if answer.get("age_range") not in AGE_RANGES:
        raise OfAMinor("age_range is not a range of adults")
    if any(map(adults.describes_a_minor, texts(profile))):
        raise OfAMinor("the profile describes a minor")
    return profile | {"age_range": answer["age_range"]}


def _text(value: Any, longest: int) -> str:
    if not isinstance(value, str):
        raise Unusable("a text is missing")
    plain = "".join(c if c.isprintable() else " " for c in unicodedata.normalize("NFC", value))
    plain = " ".join(plain.split())[:longest]
    if not plain:
        raise Unusable("a text is empty")
    return plain


def texts(profile: Mapping[str, Any]) -> list[str]:
    """All that it says."""
    return [*(profile[name] for name in TEXTS), *profile["content_themes"]]


def portrait_of(profile: Mapping[str, Any]) -> str:
    """What the image model is asked for as the avatar's face."""
    return (
        f"{profile['base_prompt']} An adult, {profile['age_range']} years old. "
        "Portrait photograph, head and shoulders, looking at the camera, plain background."
    )


def likeness_of(profile: Mapping[str, Any]) -> str:
    """What stands before the prompt of a picture that the avatar is to be in."""
    return f"{profile['base_prompt']} An adult, {profile['age_range']} years old. A picture of this same person:"

"""Avatars are grown-up people. The block list is about words; this is about whom a text describes."""

from __future__ import annotations

import re
from collections.abc import Mapping

from core.errors import detail
from generation.errors import Moderated
from generation.models import Category
from generation.moderation import words

OF_AGE = 18

# Singular on purpose: "loves children" describes a grown-up. Boys and girls may be grown up; little ones are not.
_A_MINOR = re.compile(
    r"\b(?:child|kid|toddler|infant|newborn|pre ?teens?|tween|teens?|teenage[drs]*|adolescent|under ?aged?|loli|shota"
    r"|school ?(?:girl|boy|child|kid)|preschooler|(?:little|baby|young|small) (?:girl|boy)"
    r"|minor(?! (?:scars?|key|chord|details?|flaws?|role|wounds?|injur)))\b"
)
_NUMBERS = (
    "zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen"
)
_NUMBER = (
    r"(?P<tens>(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred) )?"
    rf"\b(?P<number>\d{{1,3}}|{_NUMBERS})"
)
_AGES = (
    re.compile(rf"\b{_NUMBER} ?(?:yo|y o|(?:yrs?|years?) old)\b"),
    re.compile(rf"\b(?:age|aged|age of|ages) {_NUMBER}\b"),
)


def describes_a_minor(text: str) -> bool:
    """Whether the text says, in so many words, that somebody in it is a child or younger than eighteen."""
    said = " ".join(words(text))
    return bool(_A_MINOR.search(said)) or any(_is_young(found) for pattern in _AGES for found in pattern.finditer(said))


def _is_young(found: re.Match[str]) -> bool:
    number = found["number"]
    age = int(number) if number.isdigit() else _NUMBERS.split("|").index(number)
    return not found["tens"] and age < OF_AGE


def check(texts: Mapping[str, str]) -> None:
    """Read the texts that say who an avatar is.

    Raises: Moderated, naming the fields.
    """
    found = [name for name, text in texts.items() if describes_a_minor(text)]
    if found:
        raise Moderated(details=[detail(Category.MINORS, f"{name}: Avatars are adults only.", name) for name in found])

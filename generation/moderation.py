"""What may not be asked for: a block list of whole words and phrases, kept by staff."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.db.models import Count, Max

import audit
from core.errors import Error, detail
from generation.errors import Moderated
from generation.models import BlockedTerm, Category

# Marks that only dress a letter: accents, points of Hebrew and Arabic, variation selectors. Those of Devanagari, Thai
# and their like are vowels: without them another word stands there.
_DRESS = re.compile(
    "[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a"
    "\u0640\u064b-\u065f\u0670\u06d6-\u06ed\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)
# Scripts that put no space between words, or hang endings on them: each character counts as a word of its own.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003134f]"
)


def words(text: str) -> list[str]:
    """The text as plain words: compatibility forms folded, case, accents and invisible characters gone."""
    folded = _DRESS.sub("", unicodedata.normalize("NFKD", text.casefold()))
    plain = unicodedata.normalize("NFKC", folded).casefold().replace("ı", "i")  # noqa: RUF001  the Turkish i
    found = [""]
    for character in plain:
        kind = unicodedata.category(character)
        if kind == "Cf":
            continue
        if kind[0] == "M" and found[-1]:
            found[-1] += character
        elif kind[0] not in "LN":
            found.append("")
        elif _UNSPACED.match(character) or (found[-1] and _UNSPACED.match(found[-1])):
            found.append(character)
        else:
            found[-1] += character
    return [word for word in found if word]


@dataclass(frozen=True, slots=True)
class BlockList:
    """The active terms, each as its words, by first word."""

    phrases: Mapping[str, tuple[tuple[tuple[str, ...], str], ...]]

    def category_of(self, text: str) -> str | None:
        """The category of the first blocked term that stands in the text, or None."""
        said = words(text)
        for position, word in enumerate(said):
            for phrase, category in self.phrases.get(word, ()):
                if tuple(said[position : position + len(phrase)]) == phrase:
                    return category
        return None


def block_list() -> BlockList:
    """The list as staff have it now; compiled once per change."""
    state = BlockedTerm.objects.aggregate(n=Count("id"), latest=Max("updated_at"))
    return _compiled(state["n"], state["latest"])


@lru_cache(maxsize=2)
def _compiled(n: int, latest: Any) -> BlockList:
    found: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    for term, category in BlockedTerm.objects.filter(is_active=True).values_list("term", "category"):
        phrase = tuple(words(term))
        if phrase:
            found.setdefault(phrase[0], []).append((phrase, category))
    return BlockList({first: tuple(phrases) for first, phrases in found.items()})


def check(texts: Mapping[str, str]) -> None:
    """Read the free texts of a request.

    Raises: Moderated, naming the parameters and categories but not the words.
    """
    listed = block_list()
    hits = [(name, category) for name, text in texts.items() if (category := listed.category_of(text))]
    if hits:
        raise Moderated(
            details=[detail(category, f"{name}: {Category(category).label}.", name) for name, category in hits]
        )


@audit.writes("generation")
def record_denial(*, user: Any, asked: str, refusal: Error) -> None:
    """Keep that a request was refused. It comes after the refused transaction, which took everything else with it."""
    audit.record(
        "generation.denied",
        ("generation", ""),
        user=user,
        metadata={
            "asked": asked,
            "error": refusal.code,
            "reasons": [{"field": item.get("field"), "code": item["code"]} for item in refusal.details],
        },
    )

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

_WORD = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    """The text as plain words: compatibility forms folded, case, accents and invisible characters gone."""
    folded = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(c for c in folded if unicodedata.category(c) not in ("Mn", "Cf"))
    return _WORD.findall(unicodedata.normalize("NFKC", plain).casefold())


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

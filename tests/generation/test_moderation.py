"""Whole words only, whatever their dress; the list is staff's."""

from __future__ import annotations

import pytest

from generation import moderation
from generation.errors import Moderated
from generation.models import BlockedTerm, Category

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "text",
    [
        "a professional headshot, striped shirt, photo of a nudist-free beach bar",
        "Essex, Scunthorpe and the Sussex downs",
        "denude the branch; snaked path; pornstache is one word",
        "a fake passportless journey",
        "",
        "…",
        "self-harmonising choir",
        "裸 is not on the list",
    ],
)
def test_harmless_words_pass(text: str) -> None:
    moderation.check({"style_prompt": text})


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("a nude portrait", Category.ADULT),
        ("NUDE", Category.ADULT),
        ("nude.", Category.ADULT),
        ("nude_portrait", Category.ADULT),
        ("(nude)", Category.ADULT),
        ("nüde", Category.ADULT),
        ("ｎｕｄｅ", Category.ADULT),  # noqa: RUF001
        ("nu\u200bde", Category.ADULT),
        ("n\u0075\u0308de", Category.ADULT),
        ("sexually   explicit", Category.ADULT),
        ("sexually-explicit", Category.ADULT),
        ("child\nporn", Category.MINORS),
        ("with a SWASTIKA flag", Category.HATE),
        ("make me a fake passport", Category.DECEPTION),
    ],
)
def test_blocked_words_are_found_in_any_dress(text: str, category: Category) -> None:
    with pytest.raises(Moderated) as refusal:
        moderation.check({"name": "Me", "style_prompt": text})

    (item,) = refusal.value.details
    assert (item["code"], item["field"]) == (category.value, "style_prompt")
    assert refusal.value.status == 422
    assert refusal.value.charged == "none"


def test_staff_edits_count_at_once() -> None:
    with pytest.raises(Moderated):
        moderation.check({"p": "nude"})

    BlockedTerm.objects.filter(term="nude").delete()
    moderation.check({"p": "nude"})
    term = BlockedTerm.objects.create(term="Purple  Monkey", category=Category.HATE)
    with pytest.raises(Moderated):
        moderation.check({"p": "the purple monkey!"})
    term.is_active = False
    term.save()
    moderation.check({"p": "the purple monkey!"})

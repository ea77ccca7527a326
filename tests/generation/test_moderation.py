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


LISTED = (
    *("裸体", "ヌード", "누드", "เปลือย", "नंगा", "عارية", "עירום", "голая"),
    *("kız çıplak", "nackt", "nue", "khỏa thân", "γυμνός"),  # noqa: RUF001
)


@pytest.fixture
def languages() -> None:
    BlockedTerm.objects.bulk_create(BlockedTerm(term=term, category=Category.ADULT) for term in LISTED)


@pytest.mark.parametrize(
    "text",
    [
        "一张裸体照片",  # no space between words
        "彼女のヌード写真",
        "누드를 그려줘",  # an ending hangs on the word
        "ภาพเปลือยของฉัน",
        "एक नंगा आदमी",
        "صورة عَارِيَة",  # with points
        "صورة عـاريـة",  # stretched
        "תמונת עֵירוֹם",
        "ГОЛАЯ",
        "KIZ ÇIPLAK",
        "Ganz nackt!",
        "l’image nue",  # noqa: RUF001
        "KHO\u0309A THA\u0302N",
        "ΓΥΜΝΟΣ",
    ],
)  # fmt: skip
def test_blocked_words_are_found_in_every_script(languages: None, text: str) -> None:
    with pytest.raises(Moderated):
        moderation.check({"p": text})


@pytest.mark.parametrize(
    "text",
    [
        "体裸",  # the other way round
        "नग और नंगी",  # other vowels, other words
        "nacktschnecke am Blatt",
        "continue, avenue, revenue",
        "голаятся",
        "עירומים",
    ],
)
def test_other_words_of_those_scripts_pass(languages: None, text: str) -> None:
    moderation.check({"p": text})


def test_a_term_that_could_never_be_found_is_not_taken() -> None:
    assert moderation.words("!!! … 🤖") == []

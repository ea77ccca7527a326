"""The catalogue that ships."""

from __future__ import annotations

import pytest

from wearables import starter
from wearables.deriving import DEFAULTS, derive
from wearables.models import Import, Wearable

CATEGORIES = {
    "Tops", "Bottoms", "Footwear", "Jewelry", "Face Accessories", "Arm & Hand Accessories", "Back & Body Accessories",
    "Full Outfits", "Fashion Styles", "Cultural / Cosplay",
}  # fmt: skip


def test_it_is_large_named_once_and_described() -> None:
    rows = list(starter.items())

    assert len(rows) == len({code for code, *_ in rows}) == 7200
    assert {category for _, category, *_ in rows} == CATEGORIES
    assert len({(category, name.casefold()) for _, category, name, _ in rows}) == 7200
    assert rows == list(starter.items())
    for _, category, name, _ in rows:
        said = derive(category, name)
        assert said.keys() == {"subcategory", "tags", *DEFAULTS}
        assert all(said.values())


@pytest.mark.django_db
def test_it_fills_an_empty_catalogue_and_no_other() -> None:
    assert starter.ensure() == 7200
    assert Wearable.objects.count() == 7200
    assert Import.objects.get().report["bad"] == 0
    assert starter.ensure() == 0
    Wearable.objects.exclude(code="W00001").delete()
    assert starter.ensure() == 0

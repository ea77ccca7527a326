"""The catalogue that ships: 7,200 items in ten categories, made from words. `python -m wearables.starter` prints it.

Always the same, so an item keeps its code. It is only put into a catalogue that is empty: by `manage.py seed`, and by
the first `manage.py up`.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from math import gcd
from pathlib import Path
from typing import Any

FILENAME = "starter-catalogue.csv"
HEADER = ("ID", "Category", "Wearable Item", "Description")
PER_CATEGORY = 720
_STRIDE = 397  # walks through all combinations, neighbours unlike each other

_COLORS = (
    "Black", "White", "Ivory", "Charcoal", "Red", "Burgundy", "Blush", "Rust", "Mustard", "Emerald", "Olive", "Teal",
    "Cobalt", "Navy", "Lavender", "Chocolate", "Camel", "Sand",
)  # fmt: skip
_CLOTH = ("Striped", "Distressed", "Floral", "Oversized", "Slim", "Vintage", "Plaid", "Embroidered", "Minimalist",
          "Retro", "Athletic", "Tailored")  # fmt: skip
# category → looks, materials, things; what each is called stands first in `_FIRST` where the examples of old ones do.
_VOCABULARY: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "Tops": (
        (*_CLOTH, "Anime Logo", "Graphic", *_COLORS),
        ("Cotton", "Linen", "Silk", "Merino", "Denim"),
        ("Polo Shirt", "Tee", "Blouse", "Tank Top", "Sweater", "Hoodie", "Cardigan", "Turtleneck", "Oxford Shirt"),
    ),
    "Bottoms": (
        (*_CLOTH, *_COLORS),
        ("Denim", "Linen", "Corduroy", "Wool", "Canvas"),
        ("Jeans", "Trousers", "Chinos", "Shorts", "Pleated Skirt", "Pencil Skirt", "Joggers", "Culottes", "Leggings"),
    ),
    "Footwear": (
        ("Classic", "Sporty", "Vintage", "Minimalist", "Studded", "Retro", "Neon", "Formal", *_COLORS),
        ("Leather", "Suede", "Canvas", "Mesh", "Velvet"),
        ("Sneakers", "Ankle Boots", "Loafers", "Sandals", "Pumps", "Running Trainers", "Brogues", "Hiking Boots"),
    ),
    "Jewelry": (
        ("Classic", "Vintage", "Boho", "Minimalist", "Gothic", "Jewelled", "Antique", "Futuristic", "Ruby", "Emerald",
         "Sapphire", "Pearl", "Onyx", "Turquoise", "Amber", "Rose-Gold", "Silver", "Gold"),
        ("Sterling", "Brass", "Titanium", "Beaded", "Crystal"),
        ("Pendant", "Choker", "Hoops", "Studs", "Signet Ring", "Stacking Ring", "Brooch", "Anklet", "Locket"),
    ),
    "Face Accessories": (
        ("Retro", "Classic", "Sporty", "Futuristic", "Vintage", "Glamorous", "Minimalist", "Punk", *_COLORS),
        ("Acetate", "Titanium", "Tortoiseshell", "Bamboo", "Steel"),
        ("Round Sunglasses", "Aviator Sunglasses", "Reading Glasses", "Goggles", "Monocle", "Masquerade Mask"),
    ),
    "Arm & Hand Accessories": (
        ("Classic", "Sporty", "Boho", "Studded", "Vintage", "Minimalist", "Futuristic", "Gothic", *_COLORS),
        ("Leather", "Silver", "Beaded", "Rubber", "Brass"),
        ("Watch", "Bracelet", "Bangle", "Cuff", "Gloves", "Mittens", "Armlet"),
    ),
    "Back & Body Accessories": (
        ("Vintage", "Hiking", "Urban", "Boho", "Fantasy", "Minimalist", "Embroidered", "Holographic", *_COLORS),
        ("Leather", "Canvas", "Wool", "Nylon", "Velvet"),
        ("Backpack", "Satchel", "Tote", "Belt", "Sash", "Cape", "Shawl", "Scarf"),
    ),
    "Full Outfits": (
        ("Formal", "Casual", "Athletic", "Vintage", "Cocktail", "Summer", "Winter", "Office", *_COLORS),
        ("Linen", "Wool", "Silk", "Velvet", "Cotton"),
        ("Suit", "Pantsuit", "Evening Gown", "Wrap Dress", "Jumpsuit", "Overalls", "Tracksuit", "Sundress"),
    ),
    "Fashion Styles": (
        ("Streetwear", "Preppy", "Gothic", "Punk", "Boho", "Minimalist", "Glamorous", "Grunge", "Retro", "Cyber",
         "Romantic", "Sporty"),
        ("Denim", "Leather", "Knit", "Satin", "Tweed"),
        tuple(f"{season} {part}" for season in ("Spring", "Summer", "Autumn", "Winter")
              for part in ("Layered Set", "Weekend Outfit", "Evening Ensemble", "Festival Look")),
    ),
    "Cultural / Cosplay": (
        ("Ceremonial", "Traditional", "Festive", "Fantasy", "Anime", "Embroidered", "Antique", "Royal", *_COLORS),
        ("Silk", "Brocade", "Cotton", "Velvet", "Wool"),
        ("Kimono", "Sari", "Hanbok", "Kaftan", "Wizard Robe", "Dragon Knight Armor", "Pirate Costume",
         "Samurai Armor", "Elven Cloak"),
    ),
}  # fmt: skip
_FIRST = {"Tops": ("Striped Polo Shirt", "Anime Logo Tee"), "Bottoms": ("Distressed Jeans",)}


def items() -> Iterator[tuple[str, str, str, str]]:
    """Code, category, name, description. No name stands twice in a category."""
    number = 0
    for category, words in _VOCABULARY.items():
        for name in _names(category, words):
            number += 1
            yield f"W{number:05}", category, name, f"{name}, from {category}, for avatars and portraits."


def _names(category: str, words: tuple[tuple[str, ...], ...]) -> list[str]:
    names = dict.fromkeys(_FIRST.get(category, ()))
    every = [" ".join(dict.fromkeys(parts)) for parts in product(*words)]
    assert gcd(_STRIDE, len(every)) == 1
    for step in range(len(every)):
        names.setdefault(every[step * _STRIDE % len(every)])
        if len(names) == PER_CATEGORY:
            return list(names)
    raise AssertionError(f"too few words for {category}")


def write(to: Any) -> None:
    writer = csv.writer(to)
    writer.writerow(HEADER)
    writer.writerows(items())


def ensure() -> int:
    """Import it where there is not one item. Answers how many were added."""
    from wearables import imports
    from wearables.models import Wearable

    if Wearable.objects.exists():
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / FILENAME
        with path.open("w", newline="", encoding="utf-8") as file:
            write(file)
        return int(imports.run(imports.Source(path, FILENAME)).report["new"])


if __name__ == "__main__":
    write(sys.stdout)

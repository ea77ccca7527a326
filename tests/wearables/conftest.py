from __future__ import annotations

from pathlib import Path

import pytest

from tests.wearables.given import load
from wearables.models import Wearable

SHOWN = """ID,Category,Wearable Item,Image,Active,Order
W1,Tops,Striped Polo Shirt,https://example.com/polo.png,,1
W2,Tops,Red Cotton Tee,,,2
W3,Bottoms,Distressed Blue Jeans,,,3
W4,Tops,Red Silk Blouse,https://example.com/b.png,,4
W5,Footwear,Blue Suede Loafers,,,5
W6,Cultural / Cosplay,赤いドレス 👗,,,6
W7,Tops,Hidden Shirt,,no,7
"""


@pytest.fixture
def shown(db: None, tmp_path: Path) -> dict[str, Wearable]:
    """A small catalogue, by code."""
    load(tmp_path, SHOWN)
    return {row.code: row for row in Wearable.objects.all()}

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from core import tallies
from core.metrics import counted


def families() -> Iterator[Metric]:
    """Orders by state, and products that are for sale and sold out."""
    yield from tallies.family("orders", "Orders that came into a state", ["state"])
    yield from counted(
        "products_sold_out",
        "Products for sale of which none is left, by category",
        ["category"],
        "SELECT category, count(*) FROM store_product WHERE is_active AND stock = reserved GROUP BY 1",
    )

"""The catalogue as CSV, safe to open in a spreadsheet and to import again."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from core.texts import cell
from wearables.models import Wearable

HEADER = {
    "ID": "code", "Category": "category", "Wearable Item": "name", "Subcategory": "subcategory",
    "Description": "description", "Image URL": "image_url", "Tags": "tags", "Style": "style", "Color": "color",
    "Material": "material", "Season": "season", "Occasion": "occasion", "Size": "size", "Fit": "fit",
    "Is Active": "is_active", "Sort Order": "sort_order",
}  # fmt: skip


def csv_lines() -> Iterator[str]:
    """The whole catalogue, the inactive included, as it is read: with a byte order mark, which Excel asks for."""
    text = io.StringIO()
    writer = csv.writer(text)
    yield "\ufeff"
    writer.writerow(HEADER)
    last = ""
    while batch := list(Wearable.objects.filter(code__gt=last).order_by("code").values(*HEADER.values())[:2000]):
        for row in batch:
            cells = [", ".join(value) if isinstance(value, list) else str(value) for value in row.values()]
            writer.writerow(map(cell, cells))
        last = batch[-1]["code"]
        yield text.getvalue()
        text.seek(0)
        text.truncate()
    yield text.getvalue()

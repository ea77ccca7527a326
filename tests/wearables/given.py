"""Catalogues as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wearables import imports
from wearables.models import Import, Wearable

HEADER = "ID,Category,Wearable Item"
THREE = f"{HEADER}\nW00001,Tops,Striped Polo Shirt\nW00002,Tops,Anime Logo Tee\nW00003,Bottoms,Distressed Jeans\n"


def load(folder: Path, content: str | bytes, written: str = "utf-8", **how: Any) -> Import:
    """Import a file of this content, written in that encoding; `how` is what else the source says."""
    path = put(folder, content, written)
    return imports.run(imports.Source(path, "given.csv", **how))


def put(folder: Path, content: str | bytes, encoding: str = "utf-8") -> Path:
    path = folder / "given.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def item(code: str) -> Wearable:
    return Wearable.objects.get(code=code)


def names() -> dict[str, str]:
    return dict(Wearable.objects.order_by("code").values_list("code", "name"))

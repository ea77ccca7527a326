"""Pictures: drawn from a prompt, or made from pictures that came with it. The answer waits for them."""

from __future__ import annotations

import asyncio
import base64
import io
import time
from collections.abc import Sequence
from typing import Any

from PIL import Image

from sandbox import drawings, inputs, magic, outputs, render
from sandbox.box import Box
from sandbox.state import Doc
from sandbox.tokens import new_id
from sandbox.xai import account, models
from sandbox.xai.errors import XaiError

KIND = "xai.image"
RATIOS = {
    "1:1": 1.0, "3:4": 3 / 4, "4:3": 4 / 3, "9:16": 9 / 16, "16:9": 16 / 9, "2:3": 2 / 3, "3:2": 3 / 2,
    "9:19.5": 9 / 19.5, "19.5:9": 19.5 / 9, "9:20": 9 / 20, "20:9": 20 / 9, "1:2": 1 / 2, "2:1": 2.0,
}  # fmt: skip
SIDES = {"1k": 1024, "2k": 2048}
QUALITIES = ("low", "medium", "high")
MOST = 10
MOST_SOURCES = 3
# Ticks a picture, by quality; 2k doubles it.
PRICES = {"low": 200_000_000, "medium": 400_000_000, "high": 700_000_000}
UNSUPPORTED = ("size", "style", "seed", "negative_prompt", "mask")


async def create(box: Box, body: dict[str, Any], origin: str, *, from_pictures: bool) -> Doc:
    """Make the pictures. Raises: XaiError."""
    order = _checked(body)
    words = magic.texts(order["prompt"])
    sources = await _sources(box, body) if from_pictures else []
    cost = PRICES[order["quality"]] * order["n"] * (2 if order["resolution"] == "2k" else 1)
    if "fail" in words:
        raise XaiError(400, "Image generation failed.")
    if "moderated" in words:
        account.spend(box, cost)
        raise XaiError(400, "Generated image rejected by content moderation.", cost=cost)
    account.spend(box, cost)
    usage = {"cost_in_usd_ticks": cost}
    if "blocked" in words:
        return {"data": [], "block_reason": "content_moderated", "usage": usage}
    ratio = RATIOS.get(order["aspect_ratio"]) or (sources[0].width / sources[0].height if sources else 1.0)
    size = _size(min(max(ratio, 9 / 20), 20 / 9), SIDES[order["resolution"]])
    loop = asyncio.get_running_loop()
    data = []
    for number in range(order["n"]):
        # Of several, the last is withheld: whoever believes the status alone keeps a placeholder.
        withheld = "withheld" in words and number == order["n"] - 1
        made = await loop.run_in_executor(box.renderer, _draw, sources, order["prompt"], number, size, withheld)
        data.append(_keep(box, order, words, made, origin, withheld=withheld))
    return {"data": data, "block_reason": None, "usage": usage}


def _draw(sources: Sequence[Image.Image], prompt: str, number: int, size: tuple[int, int], withheld: bool) -> bytes:
    if withheld:
        return drawings.jpeg(Image.new("RGB", size, "grey"))
    made = drawings.edit(sources, prompt, number, size) if sources else drawings.draw(prompt, number, size)
    return drawings.jpeg(made)


def _keep(box: Box, order: Doc, words: frozenset[str], made: bytes, origin: str, *, withheld: bool) -> Doc:
    id = new_id("", 24)
    (box.folder("outputs") / f"{id}.jpg").write_bytes(made)
    doc = {"id": id, "prompt": order["prompt"], "words": sorted(words), "origin": origin, "created_at": time.time()}
    box.store.put(KIND, id, doc)
    shown: Doc = {"url": None, "b64_json": None, "mime_type": "image/jpeg", "revised_prompt": ""}
    shown["respect_moderation"] = not withheld
    if order["response_format"] == "url":
        shown["url"] = link(box, doc)
    else:
        spoilt = outputs.HTML_PAGE if "wrongtype" in words else outputs.cut(made) if "corrupt" in words else made
        shown["b64_json"] = base64.b64encode(spoilt).decode()
    return shown


def link(box: Box, doc: Doc) -> str:
    return outputs.link(box, doc["origin"], f"/xai/downloads/{doc['id']}.jpg")


def _checked(body: dict[str, Any]) -> Doc:
    models.check(body.get("model"), "image")
    for name in UNSUPPORTED:
        if body.get(name) is not None:
            raise XaiError(400, f"Argument not supported: {name}")
    prompt, n = body.get("prompt"), body.get("n", 1)
    if not isinstance(prompt, str) or not prompt.strip():
        raise XaiError(422, "missing field `prompt`")
    if not isinstance(n, int) or isinstance(n, bool) or not 1 <= n <= MOST:
        raise XaiError(400, f"n must be from 1 to {MOST}")
    order: Doc = {"prompt": prompt, "n": n}
    for name, allowed, usual in (
        ("aspect_ratio", ("auto", *RATIOS), "auto"),
        ("resolution", tuple(SIDES), "1k"),
        ("quality", QUALITIES, "medium"),
        ("response_format", ("url", "b64_json"), "url"),
    ):
        order[name] = body.get(name) or usual
        if order[name] not in allowed:
            raise XaiError(422, f"{name}: unknown variant `{order[name]}`, expected one of {', '.join(allowed)}")
    return order


async def _sources(box: Box, body: dict[str, Any]) -> list[Image.Image]:
    one, several = body.get("image"), body.get("images")
    if (one is None) == (several is None):
        raise XaiError(400, "Give either image or images")
    given = [one] if several is None else several
    if not isinstance(given, list) or not 1 <= len(given) <= MOST_SOURCES:
        raise XaiError(400, f"images must be a list of 1 to {MOST_SOURCES}")
    return [await picture(box, item) for item in given]


async def picture(box: Box, item: Any) -> Image.Image:
    """The picture behind `{"url": …}`. Raises: XaiError."""
    url = item.get("url") if isinstance(item, dict) else None
    if not isinstance(url, str) or not url:
        raise XaiError(422, "image: missing field `url`")
    try:
        found = await inputs.read(box, url)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(box.renderer, render.open_photo, io.BytesIO(found))
    except inputs.Unreadable as error:
        raise XaiError(400, f"Failed to load the image: {error}") from error
    except render.RenderError as error:
        raise XaiError(400, f"Failed to load the image: {error.message}") from error


def _size(ratio: float, side: int) -> tuple[int, int]:
    """The longer side is `side`; both are even."""
    width, height = (side, side / ratio) if ratio >= 1 else (side * ratio, side)
    return round(width / 2) * 2, round(height / 2) * 2

"""Films: a start, an edit or an extension is taken at once, made on the sandbox's clock, and polled."""

from __future__ import annotations

import asyncio
import hashlib
import io
import time
from typing import Any

from sandbox import films, inputs, magic, outputs
from sandbox.box import Box
from sandbox.state import Doc
from sandbox.tokens import new_id
from sandbox.xai import account, images, models
from sandbox.xai.errors import XaiError

KIND = "xai.video"
SIZES = {"480p": 480, "720p": 720, "1080p": 1080}
RATIOS = ("16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3")
LONGEST_START, LONGEST_EXTENSION = 15, 10
SOURCE_S = (2, 30)
MOST_REFERENCES = 7
# Ticks a second of what is newly made.
PRICE = 500_000_000
LARGEST_SOURCE = 200 * 1024**2


async def start(box: Box, body: dict[str, Any], origin: str, *, verb: str) -> Doc:
    """Take the order: a film to make, to edit or to extend. Raises: XaiError."""
    model = models.check(body.get("model"), "video")
    prompt = body.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise XaiError(422, "missing field `prompt`")
    words = magic.texts(prompt)
    doc: Doc = {
        "id": new_id("", 32), "verb": verb, "model": model, "prompt": prompt, "words": sorted(words),
        "origin": origin, "status": "pending", "created_at": time.time(), "made_at": box.agenda.now(), "looks": 0,
    }  # fmt: skip
    picture = None
    if verb == "generations":
        picture = await _new(box, body, doc)
    else:
        await _continued(box, body, doc)
    if "blocked" in words:
        raise XaiError(400, "Video prompt rejected by content moderation.")
    doc["cost"] = PRICE * doc["new_s"]
    doc["takes_s"] = box.tuned("slow_s" if "slow" in words else "late_s" if "late" in words else "speed_s")
    if picture is not None:
        (box.folder("outputs") / f"{doc['id']}.jpg").write_bytes(picture)
    with box.store.transaction():
        account.spend(box, doc["cost"])
        box.store.put(KIND, doc["id"], doc)
        box.agenda.after(doc["takes_s"], "xai.finish", doc["id"])
    return doc


async def _new(box: Box, body: dict[str, Any], doc: Doc) -> bytes | None:
    """Fill in a film from nothing, or from a first picture. Raises: XaiError."""
    seconds = _seconds(body, LONGEST_START, usual=6)
    ratio, resolution = body.get("aspect_ratio") or "16:9", body.get("resolution") or "480p"
    if ratio not in RATIOS:
        raise XaiError(422, f"aspect_ratio: unknown variant `{ratio}`, expected one of {', '.join(RATIOS)}")
    if resolution not in SIZES:
        raise XaiError(422, f"resolution: unknown variant `{resolution}`, expected one of {', '.join(SIZES)}")
    references = body.get("reference_images") or []
    if not isinstance(references, list) or len(references) > MOST_REFERENCES:
        raise XaiError(400, f"reference_images must be a list of at most {MOST_REFERENCES}")
    if resolution == "1080p" and (doc["model"] != "grok-imagine-video-1.5" or references):
        raise XaiError(400, "1080p is not supported by this model, nor with reference images")
    for name in ("image_url", "video_url"):
        if body.get(name) is not None:
            raise XaiError(400, f"Argument not supported: {name}")
    given = body.get("image") or (references[0] if references else None)
    picture = io.BytesIO()
    if given is not None:
        (await images.picture(box, given)).save(picture, "JPEG", quality=90)
    wide, high = (int(part) for part in ratio.split(":"))
    short = SIZES[resolution]
    width, height = (short * wide / high, short) if wide >= high else (short, short * high / wide)
    doc |= {
        "size": [round(width / 2) * 2, round(height / 2) * 2],
        "scenes": [{"prompt": doc["prompt"], "seconds": seconds}],
        "new_s": seconds,
        "picture": doc["id"] if given is not None else None,
    }
    return picture.getvalue() or None


async def _continued(box: Box, body: dict[str, Any], doc: Doc) -> None:
    """Fill in a film that works from another one of ours. Raises: XaiError."""
    source = await _source(box, body.get("video"))
    length = sum(scene["seconds"] for scene in source["scenes"])
    if doc["verb"] == "extensions":
        if doc["model"] != "grok-imagine-video":
            raise XaiError(400, f"The model {doc['model']} does not support video extension")
        if not SOURCE_S[0] <= length <= SOURCE_S[1]:
            raise XaiError(400, f"The video must last from {SOURCE_S[0]} to {SOURCE_S[1]} s")
        seconds = _seconds(body, LONGEST_EXTENSION, usual=6)
        scenes = [*source["scenes"], {"prompt": doc["prompt"], "seconds": seconds}]
    else:
        seconds = length
        scenes = [scene | {"prompt": doc["prompt"]} for scene in source["scenes"]]
    doc |= {"size": source["size"], "scenes": scenes, "new_s": seconds, "picture": source["picture"]}


async def _source(box: Box, item: Any) -> Doc:
    """The film behind `{"url": …}`, known by its bytes. Raises: XaiError."""
    url = item.get("url") if isinstance(item, dict) else None
    if not isinstance(url, str) or not url:
        raise XaiError(422, "video: missing field `url`")
    try:
        found = await inputs.read(box, url, max_bytes=LARGEST_SOURCE)
    except inputs.Unreadable as error:
        raise XaiError(400, f"Failed to load the video: {error}") from error
    made = box.store.get("xai.film", hashlib.sha256(found).hexdigest())
    source = box.store.get(KIND, made["video"]) if made else None
    if source is None:
        raise XaiError(400, "Failed to load the video: the sandbox continues only films that it made")
    return source


def _seconds(body: dict[str, Any], longest: int, *, usual: int) -> int:
    seconds = body.get("duration", usual)
    if not isinstance(seconds, int) or isinstance(seconds, bool) or not 1 <= seconds <= longest:
        raise XaiError(400, f"duration must be a whole number from 1 to {longest}")
    return seconds


def load(box: Box, id: str) -> Doc:
    doc = box.store.get(KIND, id)
    if doc is None:
        raise XaiError(404, "Deferred request not found", "The requested resource was not found")
    return doc


def look(box: Box, id: str) -> tuple[int, Doc | None]:
    """What a poll is answered: status and body; the first looks at a pending film have none. Raises: XaiError."""
    doc = load(box, id)
    box.store.put(KIND, id, doc | {"looks": doc["looks"] + 1})
    usage = {"cost_in_usd_ticks": doc["cost"]}
    if doc["status"] == "pending":
        share = (box.agenda.now() - doc["made_at"]) / doc["takes_s"] if doc["takes_s"] else 1
        return 202, None if not doc["looks"] else {"status": "pending", "progress": min(99, int(share * 100))}
    if box.agenda.now() > doc["made_at"] + doc["takes_s"] + outputs.LINK_LIFE_S:
        return 200, {"status": "expired"}
    if doc["status"] == "failed":
        error = {"code": "internal_error", "message": "Video generation failed."}
        return 200, {"status": "failed", "error": error, "progress": 0}
    if "moderated" in doc["words"]:
        raise XaiError(400, "Generated video rejected by content moderation.", cost=doc["cost"])
    withheld = "withheld" in doc["words"]
    video = {
        "url": "" if withheld else link(box, doc),
        "duration": sum(scene["seconds"] for scene in doc["scenes"]),
        "respect_moderation": not withheld,
    }
    return 200, {"status": "done", "model": doc["model"], "progress": 100, "video": video, "usage": usage}


def link(box: Box, doc: Doc) -> str:
    return outputs.link(box, doc["origin"], f"/xai/downloads/{doc['id']}.mp4")


async def finish(box: Box, id: str) -> None:
    """Make the film; safe to run twice."""
    doc = box.store.get(KIND, id)
    if doc is None or doc["status"] != "pending":
        return
    if "fail" in doc["words"]:
        account.spend(box, -doc["cost"])
        box.store.put(KIND, id, doc | {"status": "failed"})
        return
    path = box.folder("outputs") / f"{id}.mp4"
    scenes = [films.Scene(scene["prompt"], scene["seconds"]) for scene in doc["scenes"]]
    picture = box.folder("outputs") / f"{doc['picture']}.jpg" if doc["picture"] else None
    loop = asyncio.get_running_loop()
    width, height = doc["size"]
    await loop.run_in_executor(box.renderer, lambda: films.film(path, scenes, (width, height), picture=picture))
    digest = await loop.run_in_executor(box.renderer, lambda: hashlib.sha256(path.read_bytes()).hexdigest())
    # Read again: it was looked at while it was made.
    doc = box.store.get(KIND, id)
    if doc is None:
        return
    with box.store.transaction():
        box.store.put("xai.film", digest, {"video": id})
        box.store.put(KIND, id, doc | {"status": "done"})


def register(box: Box) -> None:
    """Name this module's timed actions."""

    async def take_step(id: str) -> None:
        await finish(box, id)

    box.agenda.actions["xai.finish"] = take_step

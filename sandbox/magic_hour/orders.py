"""What may be ordered, and how an order is read: headshots, images, videos."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

from sandbox.box import Box
from sandbox.films import FPS
from sandbox.magic_hour import files, projects
from sandbox.magic_hour.errors import MagicHourError
from sandbox.state import Doc

HEADSHOT_CREDITS = 50
IMAGE_CREDITS = 5
SECOND_CREDITS = 30  # the vendor publishes no price of a second
DEAR = {"nano-banana-pro": 150}
ONE_TO_FOUR = range(1, 5)
IMAGE_COUNTS: dict[str, Collection[int]] = {
    **dict.fromkeys(
        ("default", "flux-schnell", "gpt-image-2", "gpt-image-2.5-flare", "nano-banana", "nano-banana-2-lite",
         "qwen-image-2.1", "seedream-v4", "seedream-v5-pro", "z-image-turbo"),
        ONE_TO_FOUR,
    ),
    **dict.fromkeys(("flux-2-klein", "krea-2"), (1,)),
    **dict.fromkeys(("nano-banana-2", "nano-banana-2.1", "nano-banana-pro"), (1, 4, 9, 16)),
}  # fmt: skip
IMAGE_SIDES = {"640px": 640, "1k": 1024, "2k": 2048, "4k": 4096, "auto": 1024}
RATIOS = {"1:1": (1, 1), "16:9": (16, 9), "9:16": (9, 16)}
LINES = {"360p": 360, "480p": 480, "720p": 720, "1080p": 1080, "4k": 2160}
# model: the seconds it makes (the ends of a range, or these alone), its resolutions
VIDEO_MODELS: dict[str, tuple[tuple[float, float] | frozenset[float], str]] = {
    "default": ((1, 60), "480p 720p 1080p"),
    "gemini-omni-1.1": ((3, 10), "360p 720p 1080p 4k"),
    "kling-2.6": (frozenset({5, 10}), "720p 1080p"),
    "kling-3.0": ((3, 15), "720p 1080p 4k"),
    "ltx-2.5": ((1, 60), "480p 720p 1080p"),
    "minimax-h3": ((1, 30), "480p 720p 1080p"),
    "seedance-1.5": ((4, 12), "480p 720p 1080p"),
    "seedance-2.0": ((4, 15), "480p 720p 1080p 4k"),
    "seedance-2.0-fast": ((4, 15), "480p 720p"),
    "seedance-2.0-mini": ((4, 15), "480p 720p"),
    "seedance-2.5": ((4, 30), "480p 720p 1080p"),
    "veo3.1": (frozenset({4, 6, 8, 16, 24, 32, 40, 48, 56}), "720p 1080p"),
    "veo3.1-lite": (frozenset({4, 6, 8, 16, 24, 32, 40, 48, 56}), "720p 1080p"),
    "wan-2.2": (frozenset({3, 4, 5, 6, 7, 8, 9, 10, 15}), "480p 720p 1080p"),
    "wan-3.0": (frozenset({2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30}), "480p 720p 1080p"),
}


def headshot(box: Box, body: dict[str, Any], origin: str) -> Doc:
    asset = files.check_asset(box, _object(body, "assets").get("image_file_path"), "assets.image_file_path")
    work = {"prompt": _prompt(body), "asset": asset}
    return _begin(box, body, origin, "AI_HEADSHOT", HEADSHOT_CREDITS, work, {"image_count": 1})


def image(box: Box, body: dict[str, Any], origin: str) -> Doc:
    prompt = _prompt(body, needed=True)
    model = _choice(body, "model", IMAGE_COUNTS, "default")
    count = body.get("image_count")
    if isinstance(count, bool) or not isinstance(count, int) or count not in IMAGE_COUNTS[model]:
        raise MagicHourError(400, f"image_count: {model} makes {', '.join(map(str, IMAGE_COUNTS[model]))}")
    side = IMAGE_SIDES[_choice(body, "resolution", IMAGE_SIDES, "1k")]
    wide, high = RATIOS[_choice(body, "aspect_ratio", RATIOS, "1:1")]
    size = [side * wide // max(wide, high), side * high // max(wide, high)]
    cost = count * DEAR.get(model, IMAGE_CREDITS)
    return _begin(box, body, origin, "AI_IMAGE", cost, {"prompt": prompt, "size": size}, {"image_count": count})


def text_to_video(box: Box, body: dict[str, Any], origin: str) -> Doc:
    prompt = _prompt(body, needed=True)
    ratio = _choice(body, "aspect_ratio", RATIOS, "16:9")
    model = str(body.get("model") or "default")
    if ratio == "1:1" and model.startswith(("veo", "gemini")):
        raise MagicHourError(400, f"aspect_ratio: {model} does not make 1:1")
    references = body.get("references") or []
    if not isinstance(references, list) or len(references) > 10:
        raise MagicHourError(400, "references: at most 10")
    for at, one in enumerate(references):
        path = one.get("file_path") if isinstance(one, dict) else None
        files.check_asset(box, path, f"references[{at}].file_path")
    return _video(box, body, origin, "TEXT_TO_VIDEO", {"prompt": prompt}, ratio)


def image_to_video(box: Box, body: dict[str, Any], origin: str) -> Doc:
    assets = _object(body, "assets")
    asset = files.check_asset(box, assets.get("image_file_path"), "assets.image_file_path")
    if assets.get("end_image_file_path") is not None:
        if body.get("model") == "wan-2.2":
            raise MagicHourError(400, "assets.end_image_file_path: not supported by wan-2.2")
        files.check_asset(box, assets["end_image_file_path"], "assets.end_image_file_path")
    return _video(box, body, origin, "IMAGE_TO_VIDEO", {"prompt": _prompt(body), "asset": asset}, "16:9")


def _video(box: Box, body: dict[str, Any], origin: str, form: str, work: Doc, ratio: str) -> Doc:
    model = _choice(body, "model", VIDEO_MODELS, "default")
    allowed, resolutions = VIDEO_MODELS[model]
    seconds = body.get("end_seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise MagicHourError(400, "end_seconds: Expected number")
    fits = seconds in allowed if isinstance(allowed, frozenset) else allowed[0] <= seconds <= allowed[1]
    if not fits:
        raise MagicHourError(400, f"end_seconds: {seconds} is not supported by {model}")
    lines = LINES[_choice(body, "resolution", resolutions.split(), "720p")]
    audio = body.get("audio", False)
    if not isinstance(audio, bool):
        raise MagicHourError(400, "audio: Expected boolean")
    wide, high = RATIOS[ratio]
    width, height = (lines * side // min(wide, high) // 2 * 2 for side in (wide, high))
    work |= {
        "seconds": seconds,
        "size": [width, height],
        "audio": audio,
        "final_cost": round(seconds * SECOND_CREDITS),
    }
    shown = {"width": width, "height": height, "fps": FPS, "start_seconds": 0, "end_seconds": seconds}
    return _begin(box, body, origin, form, math.ceil(seconds) * SECOND_CREDITS, work, shown)


def _begin(box: Box, body: dict[str, Any], origin: str, form: str, cost: int, work: Doc, shown: Doc) -> Doc:
    name = _text(body.get("name"), "name")
    return projects.begin(box, form=form, name=name, cost=cost, origin=origin, work=work, shown=shown)


def _object(body: dict[str, Any], field: str) -> dict[str, Any]:
    if not isinstance(found := body.get(field), dict):
        raise MagicHourError(400, f"{field}: Required")
    return found


def _text(value: Any, field: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise MagicHourError(400, f"{field}: Expected string")
    return value


def _prompt(body: dict[str, Any], *, needed: bool = False) -> str | None:
    style = body.get("style")
    if style is not None and not isinstance(style, dict):
        raise MagicHourError(400, "style: Expected object")
    prompt = _text((style or {}).get("prompt"), "style.prompt")
    if needed and not prompt:
        raise MagicHourError(400, "style.prompt: Required")
    return prompt


def _choice(body: dict[str, Any], field: str, among: Collection[str], default: str) -> str:
    found = body.get(field, default)
    if not isinstance(found, str) or found not in among:
        raise MagicHourError(400, f"{field}: Invalid enum value. Expected one of {', '.join(among)}")
    return found

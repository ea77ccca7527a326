"""Runway tasks: a film's way from wait to success or fail, on the sandbox's clock, and the callback at its end."""

from __future__ import annotations

import asyncio
import time
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sandbox import faults, films, inputs, magic, render
from sandbox.box import Box
from sandbox.kie.errors import KieError
from sandbox.state import Doc
from sandbox.tokens import new_id

KIND = "kie.task"
FIRST_CREDITS = 1_000_000
# By seconds and quality; ten seconds at 1080p are not sold.
PRICES = {(5, "720p"): 12, (5, "1080p"): 30, (10, "720p"): 30}
EXTENSION_S = 5
SHORT_SIDES = {"720p": 720, "1080p": 1080}
RATIOS = ("16:9", "4:3", "1:1", "3:4", "9:16")
LONGEST_PROMPT = 1800
LARGEST_PICTURE = 10 * 1024**2
FILE_LIFE_S = 14 * 24 * 3600
DONE = ("success", "fail")
# When each state comes, as a share of the time the whole task takes; `wait` is there from the start.
STEPS = (("queueing", 0.05), ("generating", 0.25), ("finished", 1.0))
# A film's deadline at our callers is longer than a picture's, so what is late is later still.
LATE_TIMES = 4


def credits(box: Box) -> float:
    return float((box.store.get("kie.account", "account") or {"credits": FIRST_CREDITS})["credits"])


def set_credits(box: Box, amount: float) -> None:
    box.store.put("kie.account", "account", {"credits": amount})


def generate(box: Box, body: dict[str, Any], origin: str) -> Doc:
    """Take a film's order. Raises: KieError."""
    prompt, quality = _prompt(body), _quality(body)
    seconds = body.get("duration")
    if isinstance(seconds, bool) or seconds not in (5, 10):
        raise KieError(422, "duration must be 5 or 10")
    if (seconds, quality) not in PRICES:
        raise KieError(422, "10 second videos cannot be generated in 1080p")
    image_url = _text(body, "imageUrl")
    ratio = _text(body, "aspectRatio")
    if image_url:
        if urlsplit(image_url).scheme not in ("http", "https"):
            raise KieError(422, "imageUrl must be a public URL")
    elif ratio not in RATIOS:
        raise KieError(422, f"aspectRatio must be one of {', '.join(RATIOS)}")
    return _take(
        box,
        body,
        {
            "prompt": prompt, "quality": quality, "image_url": image_url, "ratio": ratio, "parent": "",
            "scenes": [{"prompt": prompt, "seconds": seconds}], "price": PRICES[int(seconds), quality],
            "origin": origin,
        },
    )  # fmt: skip


def extend(box: Box, body: dict[str, Any], origin: str) -> Doc:
    """Take the order of a film that goes on where another ended. Raises: KieError."""
    prompt, quality = _prompt(body), _quality(body)
    source = box.store.get(KIND, _text(body, "taskId"))
    if source is None:
        raise KieError(404, "The task does not exist")
    if source["state"] != "success":
        raise KieError(422, "Only finished videos can be extended")
    if source["quality"] == "1080p":
        raise KieError(422, "1080p videos cannot be extended")
    return _take(
        box,
        body,
        {
            "prompt": prompt, "quality": quality, "image_url": source["image_url"], "ratio": source["ratio"],
            "parent": source["id"], "scenes": [*source["scenes"], {"prompt": prompt, "seconds": EXTENSION_S}],
            "price": PRICES[EXTENSION_S, quality], "origin": origin,
        },
    )  # fmt: skip


def _take(box: Box, body: dict[str, Any], task: Doc) -> Doc:
    callback, mark = _text(body, "callBackUrl"), _text(body, "waterMark")
    if callback and urlsplit(callback).scheme not in ("http", "https"):
        raise KieError(422, "callBackUrl must be a URL")
    words = magic.texts(task["prompt"], mark)
    match faults.refused_once(box, "kie", words, task["prompt"], mark):
        case 429:
            raise KieError(429, "Too many requests", {"Retry-After": str(magic.RETRY_AFTER_S)})
        case 500:
            raise KieError(500, "Server error")
    if credits(box) < task["price"]:
        raise KieError(402, "Your balance isn't enough to run this request. Please top up to continue.")
    task |= {
        "id": str(uuid.uuid4()), "state": "wait", "callback": callback, "water_mark": mark, "words": sorted(words),
        "made_at": time.time(), "ended_at": None, "video": None, "fail_code": 0, "fail_msg": "",
    }  # fmt: skip
    takes_s = box.tuned("speed_s")
    if "slow" in words:
        takes_s = box.tuned("slow_s")
    if "late" in words:
        takes_s = box.tuned("late_s") * LATE_TIMES
    with box.store.transaction():
        set_credits(box, credits(box) - task["price"])
        box.store.put(KIND, task["id"], task)
        for step, share in STEPS:
            box.agenda.after(takes_s * share, "kie.step", task["id"], step)
    return task


def _prompt(body: dict[str, Any]) -> str:
    prompt = _text(body, "prompt")
    if not prompt.strip():
        raise KieError(422, "prompt is required")
    if len(prompt) > LONGEST_PROMPT:
        raise KieError(422, f"prompt must not exceed {LONGEST_PROMPT} characters")
    return prompt


def _quality(body: dict[str, Any]) -> str:
    quality = _text(body, "quality")
    if quality not in SHORT_SIDES:
        raise KieError(422, "quality must be 720p or 1080p")
    return quality


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise KieError(422, f"{name} must be a string")
    return value or ""


def load(box: Box, id: str) -> Doc:
    task = box.store.get(KIND, id)
    if task is None:
        raise KieError(404, "The task does not exist")
    return task


def expired(box: Box, task: Doc) -> bool:
    return task["ended_at"] is not None and task["ended_at"] + FILE_LIFE_S < box.agenda.now()


def public(box: Box, task: Doc) -> Doc:
    """The task as `record-detail` shows it; `videoInfo` only after success."""
    shown: Doc = {
        "taskId": task["id"],
        "parentTaskId": task["parent"],
        "generateParam": {"prompt": task["prompt"], "imageUrl": task["image_url"], "expandPrompt": True},
        "state": task["state"],
        "generateTime": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(task["made_at"])),
        "failCode": task["fail_code"],
        "failMsg": task["fail_msg"],
        "expireFlag": int(expired(box, task)),
    }
    if task["state"] == "success":
        links = _links(task)
        shown["videoInfo"] = {
            "videoId": task["video"], "taskId": task["id"], "videoUrl": links["video_url"],
            "imageUrl": links["image_url"],
        }  # fmt: skip
    return shown


def _links(task: Doc) -> dict[str, str]:
    stem = f"{task['origin']}/kie/downloads/{task['video']}"
    return {"video_url": f"{stem}.mp4", "image_url": f"{stem}.png"}


def by_video(box: Box, video: str) -> Doc:
    """Raises: KieError."""
    made = box.store.get("kie.video", video)
    task = load(box, made["task"]) if made else None
    if task is None or expired(box, task):
        raise KieError(404, "Not Found")
    return task


def announce(box: Box, task: Doc) -> None:
    """The callback: snake_case, where every other answer has camelCase."""
    if not task["callback"] or not inputs.is_near(box, task["callback"]):
        return
    copies = 0 if "lost" in task["words"] else magic.DUPLICATES if "duplicate" in task["words"] else 1
    data = {"task_id": task["id"], "video_id": task["video"] or "", "video_url": "", "image_url": ""}
    if task["state"] == "success":
        body: Doc = {"code": 200, "msg": "All generated successfully.", "data": data | _links(task)}
    else:
        body = {"code": 400 if task["fail_code"] < 500 else 500, "msg": task["fail_msg"], "data": data}
    box.webhooks.send(
        "kie", f"runway.{task['state']}", body, subject=task["id"], copies=copies, url=task["callback"]
    )  # fmt: skip


async def step(box: Box, id: str, name: str) -> None:
    """Take a task one step on; safe to run twice."""
    task = box.store.get(KIND, id)
    if task is None or task["state"] in DONE:
        return
    if name != "finished":
        box.store.put(KIND, id, task | {"state": name})
        return
    video = new_id("v-", 20)
    refusal = await _render(box, task, video)
    task = box.store.get(KIND, id)
    if task is None or task["state"] in DONE:
        return
    task["ended_at"] = box.agenda.now()
    with box.store.transaction():
        if refusal:
            set_credits(box, credits(box) + task["price"])
            task |= {"state": "fail", "fail_code": refusal.code, "fail_msg": refusal.message}
        else:
            box.store.put("kie.video", video, {"task": id})
            task |= {"state": "success", "video": video}
        box.store.put(KIND, id, task)
        announce(box, task)


async def _render(box: Box, task: Doc, video: str) -> KieError | None:
    if "fail" in task["words"]:
        return KieError(501, "Video generation failed")
    if "moderated" in task["words"]:
        return KieError(400, "Your prompt was caught by our AI moderator. Please adjust it and try again.")
    folder = box.folder("outputs")
    picture = folder / f"{video}.input" if task["image_url"] else None
    try:
        if picture:
            picture.write_bytes(await inputs.read(box, task["image_url"], max_bytes=LARGEST_PICTURE))
    except inputs.Unreadable as error:
        return KieError(451, f"Failed to fetch the image: {error}")
    loop = asyncio.get_running_loop()
    try:
        await loop.run_in_executor(box.renderer, _draw, task, folder / video, picture)
    except render.RenderError as error:
        return KieError(400, f"The image cannot be used: {error.message}")
    finally:
        if picture:
            picture.unlink(missing_ok=True)
    return None


def _draw(task: Doc, stem: Path, picture: Path | None) -> None:
    scenes = [films.Scene(scene["prompt"], scene["seconds"]) for scene in task["scenes"]]
    short = SHORT_SIDES[task["quality"]]
    if picture:
        # The picture decides the shape, within what a film can have.
        ground = render.open_photo(picture)
        ratio = min(max(ground.width / ground.height, 9 / 16), 16 / 9)
    else:
        wide, high = (int(part) for part in task["ratio"].split(":"))
        ratio = wide / high
    width, height = (short * ratio, short) if ratio >= 1 else (short, short / ratio)
    size = (round(width / 2) * 2, round(height / 2) * 2)
    films.film(stem.with_suffix(".mp4"), scenes, size, picture=picture)
    films.poster(stem.with_suffix(".png"), scenes[0], size, picture=picture)


def register(box: Box) -> None:
    """Name this module's timed actions."""

    async def take_step(id: str, name: str) -> None:
        await step(box, id, name)

    box.agenda.actions["kie.step"] = take_step

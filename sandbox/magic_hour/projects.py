"""Image and video projects: a job's way from draft to complete, on the sandbox's clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sandbox import drawings, faults, films, magic, render
from sandbox.box import Box
from sandbox.magic_hour import files
from sandbox.magic_hour.errors import MagicHourError
from sandbox.state import Doc
from sandbox.tokens import new_cuid

KIND = "magic_hour.project"
VIDEOS = ("IMAGE_TO_VIDEO", "TEXT_TO_VIDEO")
FIRST_CREDITS = 1_000_000
DONE = ("complete", "error", "canceled")
# When each step comes, as a share of the time the whole job takes.
STEPS = (("queued", 0.05), ("rendering", 0.25), ("finished", 1.0))


def credits(box: Box) -> int:
    return int((box.store.get("magic_hour.account", "account") or {"credits": FIRST_CREDITS})["credits"])


def set_credits(box: Box, amount: int) -> None:
    box.store.put("magic_hour.account", "account", {"credits": amount})


def begin(box: Box, *, form: str, name: str | None, cost: int, origin: str, work: Doc, shown: Doc) -> Doc:
    """Take a job: charge, and put its steps on the agenda. `work` is what it is made from, `shown` its kind's own keys.

    Raises: MagicHourError, 402 without credits, and what magic words say.
    """
    words = magic.texts(work["prompt"], name)
    _refuse_once(box, words, work["prompt"], name)
    if credits(box) < cost:
        raise MagicHourError(402, "You do not have enough credits to create this")
    now = time.time()
    project: Doc = {
        "id": new_cuid(),
        "name": name,
        "status": "draft",
        "type": form,
        "created_at": files.iso(now),
        "enabled": True,
        "credits_charged": cost,
        "error": None,
        **shown,
        "_work": work,
        "_prompt": work["prompt"],
        "_words": sorted(words),
        "_origin": origin,
        "_made_at": now,
    }
    takes_s = box.tuned("slow_s" if "slow" in words else "late_s" if "late" in words else "speed_s")
    with box.store.transaction():
        set_credits(box, credits(box) - cost)
        box.store.put(KIND, project["id"], project)
        for step, share in STEPS:
            box.agenda.after(takes_s * share, "magic_hour.step", project["id"], step)
    return project


def _refuse_once(box: Box, words: frozenset[str], prompt: str | None, name: str | None) -> None:
    match faults.refused_once(box, "magic-hour", words, prompt, name):
        case 429:
            raise MagicHourError(429, "Too many requests", {"Retry-After": str(magic.RETRY_AFTER_S)})
        case 500:
            raise MagicHourError(500, "Internal Server Error")


def is_video(project: Doc) -> bool:
    return project["type"] in VIDEOS


def outputs(project: Doc) -> list[str]:
    """The names of what it makes."""
    id = project["id"]
    if is_video(project):
        return [f"{id}.mp4"]
    count = project["image_count"]
    return [f"{id}.png"] if count == 1 else [f"{id}-{n}.png" for n in range(1, count + 1)]


def load(box: Box, id: str, *, video: bool | None = None) -> Doc:
    """The project; of one kind only where that is asked for."""
    project = box.store.get(KIND, id)
    if project is None or video not in (None, is_video(project)):
        raise MagicHourError(404, "Not Found")
    return project


def public(box: Box, project: Doc) -> Doc:
    """The project as GET and webhooks show it: every key always there, a fresh link each time."""
    shown = {key: value for key, value in project.items() if not key.startswith("_")}
    downloads = []
    if project["status"] == "complete" and project["enabled"]:
        places = [f"/magic-hour/downloads/{name}" for name in outputs(project)]
        downloads = [files.signed_link(box, project["_origin"], place) for place in places]
    shown |= {"total_frame_cost": project["credits_charged"], "downloads": downloads}
    return shown | {"download": downloads[0] if downloads else None} if is_video(project) else shown


def cancel(box: Box, project: Doc) -> Doc:
    """What a person does in the vendor's web app; it fires no webhook."""
    if project["status"] not in DONE:
        project["status"] = "canceled"
        box.store.put(KIND, project["id"], project)
    return project


def remove(box: Box, project: Doc) -> None:
    """Idempotent. Removes the output for good; a running job ends with it."""
    cancel(box, project)
    box.store.put(KIND, project["id"], project | {"enabled": False})
    for name in outputs(project):
        (box.folder("outputs") / name).unlink(missing_ok=True)


def announce(box: Box, event: str, project: Doc) -> None:
    copies = 0 if "lost" in project["_words"] else magic.DUPLICATES if "duplicate" in project["_words"] else 1
    body = {"type": f"{'video' if is_video(project) else 'image'}.{event}", "payload": public(box, project)}
    box.webhooks.send("magic-hour", event, body, subject=project["id"], copies=copies)


async def step(box: Box, id: str, name: str) -> None:
    """Take a job one step on, unless it ended meanwhile."""
    project = box.store.get(KIND, id)
    if project is None or project["status"] in DONE:
        return
    if name != "finished":
        with box.store.transaction():
            box.store.put(KIND, id, project | {"status": name})
            if name == "rendering":
                announce(box, "started", project | {"status": name})
        return
    refusal = await _render(box, project)
    project = box.store.get(KIND, id)
    if project is None or project["status"] in DONE:
        return
    with box.store.transaction():
        if refusal:
            set_credits(box, credits(box) + project["credits_charged"])
            project |= {
                "status": "error",
                "credits_charged": 0,
                "error": {"code": refusal.code, "message": refusal.message},
            }
        else:
            cost = project["_work"].get("final_cost", project["credits_charged"])  # of a video the first was a guess
            set_credits(box, credits(box) + project["credits_charged"] - cost)
            project |= {"status": "complete", "credits_charged": cost}
        box.store.put(KIND, id, project)
        announce(box, "errored" if refusal else "completed", project)


async def _render(box: Box, project: Doc) -> render.RenderError | None:
    if "fail" in project["_words"]:
        return render.RenderError("unknown_error", "An unknown error occurred during generation")
    if "moderated" in project["_words"]:
        return render.RenderError("content_moderated", "The request was blocked by our content policy")
    work, made = project["_work"], [box.folder("outputs") / name for name in outputs(project)]
    try:
        source = await files.photo(box, work["asset"]) if work.get("asset") else None
        draw = partial(_DRAW[project["type"]], source, made, work)
        await asyncio.get_running_loop().run_in_executor(box.renderer, draw)
    except render.RenderError as error:
        return error
    return None


def _headshot(source: Path | None, made: list[Path], work: Doc) -> None:
    assert source is not None
    render.headshot(source, made[0], work["prompt"])


def _images(source: Path | None, made: list[Path], work: Doc) -> None:
    for seed, output in enumerate(made):
        drawings.draw(work["prompt"], seed, tuple(work["size"])).save(output, "PNG", compress_level=4)


def _video(source: Path | None, made: list[Path], work: Doc) -> None:
    scene = films.Scene(work["prompt"] or "", work["seconds"])
    films.film(made[0], [scene], tuple(work["size"]), picture=source, sound=work["audio"])


_DRAW: dict[str, Callable[[Path | None, list[Path], Doc], None]] = {
    "AI_HEADSHOT": _headshot,
    "AI_IMAGE": _images,
    "IMAGE_TO_VIDEO": _video,
    "TEXT_TO_VIDEO": _video,
}


def register(box: Box) -> None:
    """Name this module's timed actions."""

    async def take_step(id: str, name: str) -> None:
        await step(box, id, name)

    box.agenda.actions["magic_hour.step"] = take_step

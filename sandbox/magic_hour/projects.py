"""Image projects: a job's way from draft to complete, on the sandbox's clock."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from sandbox import faults, magic, render
from sandbox.box import Box
from sandbox.magic_hour import files
from sandbox.magic_hour.errors import MagicHourError
from sandbox.state import Doc
from sandbox.tokens import new_cuid

KIND = "magic_hour.project"
HEADSHOT_CREDITS = 50
FIRST_CREDITS = 1_000_000
DONE = ("complete", "error", "canceled")
# When each step comes, as a share of the time the whole job takes.
STEPS = (("queued", 0.05), ("rendering", 0.25), ("finished", 1.0))


def credits(box: Box) -> int:
    return int((box.store.get("magic_hour.account", "account") or {"credits": FIRST_CREDITS})["credits"])


def set_credits(box: Box, amount: int) -> None:
    box.store.put("magic_hour.account", "account", {"credits": amount})


def create_headshot(box: Box, body: dict[str, Any], origin: str) -> Doc:
    """Take a headshot job: charge, and put its steps on the agenda."""
    assets, style, name = body.get("assets"), body.get("style"), body.get("name")
    if not isinstance(assets, dict):
        raise MagicHourError(400, "assets: Required")
    if style is not None and not isinstance(style, dict):
        raise MagicHourError(400, "style: Expected object")
    prompt = (style or {}).get("prompt")
    for field, value in (("style.prompt", prompt), ("name", name)):
        if value is not None and not isinstance(value, str):
            raise MagicHourError(400, f"{field}: Expected string")
    asset = files.check_asset(box, assets.get("image_file_path"), "assets.image_file_path")
    words = magic.texts(prompt, name)
    _refuse_once(box, words, prompt, name)
    if credits(box) < HEADSHOT_CREDITS:
        raise MagicHourError(402, "You do not have enough credits to create this image")
    now = time.time()
    project: Doc = {
        "id": new_cuid(),
        "name": name,
        "status": "draft",
        "image_count": 1,
        "type": "AI_HEADSHOT",
        "created_at": files.iso(now),
        "enabled": True,
        "credits_charged": HEADSHOT_CREDITS,
        "error": None,
        "_asset": asset,
        "_prompt": prompt,
        "_words": sorted(words),
        "_origin": origin,
        "_made_at": now,
    }
    takes_s = box.tuned("slow_s" if "slow" in words else "late_s" if "late" in words else "speed_s")
    with box.store.transaction():
        set_credits(box, credits(box) - HEADSHOT_CREDITS)
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


def load(box: Box, id: str) -> Doc:
    project = box.store.get(KIND, id)
    if project is None:
        raise MagicHourError(404, "Not Found")
    return project


def public(box: Box, project: Doc) -> Doc:
    """The project as GET and webhooks show it: every key always there, a fresh link each time."""
    shown = {key: value for key, value in project.items() if not key.startswith("_")}
    downloads = []
    if project["status"] == "complete" and project["enabled"]:
        downloads.append(files.signed_link(box, project["_origin"], f"/magic-hour/downloads/{project['id']}.png"))
    return shown | {"total_frame_cost": project["credits_charged"], "downloads": downloads}


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
    (box.folder("outputs") / f"{project['id']}.png").unlink(missing_ok=True)


def announce(box: Box, event: str, project: Doc) -> None:
    copies = 0 if "lost" in project["_words"] else magic.DUPLICATES if "duplicate" in project["_words"] else 1
    body = {"type": event, "payload": public(box, project)}
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
                announce(box, "image.started", project | {"status": name})
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
            project["status"] = "complete"
        box.store.put(KIND, id, project)
        announce(box, "image.errored" if refusal else "image.completed", project)


async def _render(box: Box, project: Doc) -> render.RenderError | None:
    if "fail" in project["_words"]:
        return render.RenderError("unknown_error", "An unknown error occurred while generating the image")
    if "moderated" in project["_words"]:
        return render.RenderError("content_moderated", "The request was blocked by our content policy")
    output = box.folder("outputs") / f"{project['id']}.png"
    try:
        source = await files.photo(box, project["_asset"])
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(box.renderer, render.headshot, source, output, project["_prompt"])
    except render.RenderError as error:
        return error
    return None


def register(box: Box) -> None:
    """Name this module's timed actions."""

    async def take_step(id: str, name: str) -> None:
        await step(box, id, name)

    box.agenda.actions["magic_hour.step"] = take_step

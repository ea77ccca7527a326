"""The vendor's console, as far as it matters: the tasks, and the credits left."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.box import Box, box_of
from sandbox.kie import tasks
from sandbox.pages import EMPTY, button, clock, code, done, fields, markup, page, table, tag
from sandbox.state import Doc

HOME = "/kie/dashboard"
PAGE_LENGTH = 50


async def home(request: Request) -> Response:
    box = box_of(request)
    return page(
        "KIE",
        markup("<h1>KIE</h1><p class=lead>{count} tasks · {credits} credits left.</p>",
               count=box.store.count(tasks.KIND), credits=f"{tasks.credits(box):,.0f}"),
        button(f"{HOME}/credits", "Empty the account", amount="0"),
        button(f"{HOME}/credits", "Fill it up", amount=str(tasks.FIRST_CREDITS)),
        table(("Film", "Task", "State", "Prompt", "Made", "Callback"),
              (_row(box, task) for task in box.store.find(tasks.KIND, limit=PAGE_LENGTH))),
    )  # fmt: skip


def _row(box: Box, task: Doc) -> list[object]:
    shown = tasks.public(box, task)
    film = shown.get("videoInfo")
    seconds = sum(scene["seconds"] for scene in task["scenes"])
    return [
        markup('<a href="{film}"><img src="{still}" alt="" width=96 loading=lazy></a>', film=film["videoUrl"],
               still=film["imageUrl"]) if film and not shown["expireFlag"] else EMPTY,
        markup("{id}<br><span class=soft>{seconds} s, {quality}</span>", id=code(task["id"]), seconds=seconds,
               quality=task["quality"]),
        markup("{state}<br><span class=soft>{why}</span>", state=tag(task["state"]), why=task["fail_msg"] or EMPTY),
        task["prompt"], clock(task["made_at"]),
        markup('<a href="/deliveries">{url}</a>', url=task["callback"]) if task["callback"] else EMPTY,
    ]  # fmt: skip


async def set_credits(request: Request) -> Response:
    box = box_of(request)
    try:
        amount = float((await fields(request)).get("amount", ""))
    except ValueError:
        return JSONResponse({"error": "amount must be a number"}, status_code=400)
    tasks.set_credits(box, amount)
    return done(request, HOME, {"credits": amount})


routes = [
    Route("/dashboard", home, methods=["GET"]),
    Route("/dashboard/credits", set_credits, methods=["POST"]),
]

"""The vendor's web app, as far as it matters: see the projects, cancel one."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.box import Box, box_of
from sandbox.magic_hour import projects
from sandbox.magic_hour.errors import MagicHourError
from sandbox.pages import EMPTY, button, clock, code, done, markup, page, table, tag
from sandbox.state import Doc

HOME = "/magic-hour/dashboard"
PAGE_LENGTH = 50
_PICTURE = '<a href="{url}"><img src="{url}" alt="" width=64 loading=lazy></a>'
_VIDEO = '<a href="{url}">Play</a>'


async def home(request: Request) -> Response:
    box = box_of(request)
    return page(
        "Magic Hour",
        markup("<h1>Magic Hour</h1><p class=lead>{count} projects · {credits} credits left.</p>",
               count=box.store.count(projects.KIND), credits=f"{projects.credits(box):,}"),
        table(("Picture", "Project", "State", "Prompt", "Made", ""),
              (_row(box, project) for project in box.store.find(projects.KIND, limit=PAGE_LENGTH))),
    )  # fmt: skip


def _row(box: Box, project: Doc) -> list[object]:
    shown = projects.public(box, project)
    url = shown["downloads"][0]["url"] if shown["downloads"] else ""
    act = button(f"{HOME}/{project['id']}/cancel", "Cancel") if project["status"] not in projects.DONE else EMPTY
    return [
        markup(_VIDEO if projects.is_video(project) else _PICTURE, url=url) if url else EMPTY,
        markup("{id}<br><span class=soft>{name}</span>", id=code(project["id"]), name=project["name"]),
        tag(project["status"]), project["_prompt"], clock(project["_made_at"]), act,
    ]  # fmt: skip


async def cancel(request: Request) -> Response:
    box = box_of(request)
    try:
        project = projects.cancel(box, projects.load(box, request.path_params["id"]))
    except MagicHourError as error:
        return JSONResponse({"message": error.message}, status_code=error.status)
    return done(request, HOME, projects.public(box, project))


routes = [
    Route("/dashboard", home, methods=["GET"]),
    Route("/dashboard/{id}/cancel", cancel, methods=["POST"]),
]

"""Magic Hour's REST API, `/v1/…`, and the storage links it hands out."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox import faults, outputs
from sandbox.box import Box, box_of
from sandbox.magic_hour import files, orders, projects
from sandbox.magic_hour.errors import MagicHourError
from sandbox.state import Doc

Handler = Callable[[Box, Request], Awaitable[Response]]
Order = Callable[[Box, dict[str, Any], str], Doc]


def answering(handler: Handler, *, with_key: bool = True) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        box = box_of(request)
        expected = f"Bearer {box.settings.magic_hour_api_key}".encode()
        try:
            if with_key and not hmac.compare_digest(request.headers.get("authorization", "").encode(), expected):
                raise MagicHourError(401, "Unauthorized")
            return await handler(box, request)
        except MagicHourError as error:
            return JSONResponse({"message": error.message}, status_code=error.status, headers=error.headers)

    return answer


async def body_of(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body() or b"{}")
    except ValueError:
        raise MagicHourError(400, "body: Invalid JSON") from None
    if not isinstance(body, dict):
        raise MagicHourError(400, "body: Expected object")
    return body


def origin_of(request: Request) -> str:
    """Links point where the caller found us."""
    return f"{request.url.scheme}://{request.url.netloc}"


async def upload_urls(box: Box, request: Request) -> Response:
    return JSONResponse(files.upload_urls(box, await body_of(request), origin_of(request)))


async def upload(box: Box, request: Request) -> Response:
    """Take a file through a signed link, in pieces, never whole in memory."""
    files.check_link(box, request.url.path, request.query_params)
    path = files.upload_path(box, request.path_params["name"])
    part = path.with_name(f"{path.name}.part")
    size = 0
    try:
        with part.open("wb") as file:
            async for piece in request.stream():
                size += len(piece)
                if size > files.LARGEST_UPLOAD:
                    raise MagicHourError(413, "EntityTooLarge")
                file.write(piece)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return Response()


def creating(order: Order, cost_key: str = "frame_cost") -> Handler:
    """A create: it answers at once, with the deprecated twin of the cost that the SDK insists on."""

    async def create(box: Box, request: Request) -> Response:
        project = order(box, await body_of(request), origin_of(request))
        if "hang" in project["_words"]:
            return await faults.hang(request.scope, box)
        cost = project["credits_charged"]
        return JSONResponse({"id": project["id"], "credits_charged": cost, cost_key: cost})

    return create


def showing(*, video: bool) -> Handler:
    async def show(box: Box, request: Request) -> Response:
        return JSONResponse(projects.public(box, projects.load(box, request.path_params["id"], video=video)))

    return show


def deleting(*, video: bool) -> Handler:
    async def delete(box: Box, request: Request) -> Response:
        projects.remove(box, projects.load(box, request.path_params["id"], video=video))
        return Response(status_code=204)

    return delete


async def account(box: Box, request: Request) -> Response:
    return JSONResponse(
        {
            "id": files.ACCOUNT_ID,
            "email": "sandbox@example.test",
            "credits": projects.credits(box),
            "tier": "business",
            "subscription": None,
        }
    )


async def download(box: Box, request: Request) -> Response:
    """Serve an output, or what a magic word made of it."""
    files.check_link(box, request.url.path, request.query_params)
    name = request.path_params["name"]
    project = projects.load(box, re.split(r"[-.]", name)[0])
    path = box.folder("outputs") / name
    if name not in projects.outputs(project) or not project["enabled"] or not path.exists():
        raise MagicHourError(404, "Not Found")
    return outputs.respond(path, project["_words"], "video/mp4" if projects.is_video(project) else "image/png")


async def unknown(box: Box, request: Request) -> Response:
    raise MagicHourError(404, "Not Found")


routes = [
    Route("/v1/files/upload-urls", answering(upload_urls), methods=["POST"]),
    Route("/v1/ai-headshot-generator", answering(creating(orders.headshot)), methods=["POST"]),
    Route("/v1/ai-image-generator", answering(creating(orders.image)), methods=["POST"]),
    Route("/v1/text-to-video", answering(creating(orders.text_to_video, "estimated_frame_cost")), methods=["POST"]),
    Route("/v1/image-to-video", answering(creating(orders.image_to_video, "estimated_frame_cost")), methods=["POST"]),
    *(
        Route(f"/v1/{kind}-projects/{{id}}", answering(handler(video=kind == "video")), methods=[method])
        for kind in ("image", "video")
        for method, handler in (("GET", showing), ("DELETE", deleting))
    ),
    Route("/v1/account", answering(account), methods=["GET"]),
    Route("/v1/{path:path}", answering(unknown), methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
    Route("/uploads/{name}", answering(upload, with_key=False), methods=["PUT"]),
    Route("/downloads/{name}", answering(download, with_key=False), methods=["GET"]),
]

"""xAI's REST API, `/v1/…`, and the links it hands out."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox import faults, magic, outputs
from sandbox.box import Box, box_of
from sandbox.xai import account, chat, images, models, videos
from sandbox.xai.errors import EXHAUSTED, FORBIDDEN, INTERNAL, XaiError

Handler = Callable[[Box, Request], Awaitable[Response]]
MEDIA_TYPES = {"jpg": (images.KIND, "image/jpeg"), "mp4": (videos.KIND, "video/mp4")}


def answering(
    handler: Handler, *, with_key: bool = True, like_openai: bool = False
) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        box = box_of(request)
        try:
            if with_key:
                _check_key(box, request)
            return await handler(box, request)
        except XaiError as error:
            body = error.body(like_openai=like_openai)
            return JSONResponse(body, status_code=error.status, headers=error.headers)

    return answer


def _check_key(box: Box, request: Request) -> None:
    given = request.headers.get("authorization", "")
    if not given:
        raise XaiError(401, "No authorization header or an invalid authorization token was provided.", FORBIDDEN)
    if not hmac.compare_digest(given.encode(), f"Bearer {box.settings.xai_api_key}".encode()):
        # xAI answers a wrong key with 400, not with 401.
        raise XaiError(400, "Incorrect API key provided. You can obtain an API key from https://console.x.ai.")


async def body_of(request: Request) -> dict[str, Any]:
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise XaiError(415, "Expected request with `Content-Type: application/json`")
    try:
        body = json.loads(await request.body())
    except ValueError:
        raise XaiError(400, "Failed to parse the request body as JSON") from None
    if not isinstance(body, dict):
        raise XaiError(422, "Failed to deserialize the JSON body: expected an object")
    return body


def _admit(box: Box, text: Any) -> frozenset[str]:
    """Take an order with this text, or refuse it for want of credit or because a magic word says so, once."""
    account.check(box)
    text = text if isinstance(text, str) else ""
    words = magic.texts(text)
    match faults.refused_once(box, "xai", words, text):
        case 429:
            raise XaiError(429, "Too many requests", EXHAUSTED, {"Retry-After": str(magic.RETRY_AFTER_S)})
        case 500:
            raise XaiError(500, "Internal error", INTERNAL)
    return words


async def _after_a_while(box: Box, request: Request, words: frozenset[str], response: Response) -> Response:
    """Hold a synchronous answer back for as long as making it takes, by the sandbox's clock; the work is done."""
    if "hang" in words:
        return await faults.hang(request.scope, box)
    takes_s = box.tuned("slow_s" if "slow" in words else "late_s" if "late" in words else "speed_s")
    due = box.agenda.now() + takes_s
    transport = request.scope["state"]["transport"]
    while (left := due - box.agenda.now()) > 0 and not box.stopping.is_set() and not transport.is_closing():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(box.stopping.wait(), min(left, 0.2))
    return response


def origin_of(request: Request) -> str:
    """Links point where the caller found us."""
    return f"{request.url.scheme}://{request.url.netloc}"


async def complete(box: Box, request: Request) -> Response:
    body = await body_of(request)
    words = _admit(box, chat.said_in(body))
    return await _after_a_while(box, request, words, JSONResponse(chat.create(box, body)))


async def list_models(box: Box, request: Request) -> Response:
    return JSONResponse(models.listed())


async def show_model(box: Box, request: Request) -> Response:
    found = next((one for one in models.listed()["data"] if one["id"] == request.path_params["id"]), None)
    if found is None:
        raise XaiError(404, "The model does not exist")
    return JSONResponse(found)


def making_images(*, from_pictures: bool) -> Handler:
    async def make(box: Box, request: Request) -> Response:
        body = await body_of(request)
        words = _admit(box, body.get("prompt"))
        made = await images.create(box, body, origin_of(request), from_pictures=from_pictures)
        return await _after_a_while(box, request, words, JSONResponse(made))

    return make


def starting(verb: str) -> Handler:
    async def start(box: Box, request: Request) -> Response:
        body = await body_of(request)
        words = _admit(box, body.get("prompt"))
        doc = await videos.start(box, body, origin_of(request), verb=verb)
        if "hang" in words:
            return await faults.hang(request.scope, box)
        return JSONResponse({"request_id": doc["id"]})

    return start


async def look(box: Box, request: Request) -> Response:
    status, body = videos.look(box, request.path_params["id"])
    return Response(status_code=status) if body is None else JSONResponse(body, status_code=status)


async def download(box: Box, request: Request) -> Response:
    """Serve an output, or what a magic word made of it."""
    if refusal := outputs.refusal(box, request.url.path, request.query_params):
        raise XaiError(403, refusal, FORBIDDEN)
    name = request.path_params["name"]
    id, _, extension = name.rpartition(".")
    kind, media_type = MEDIA_TYPES.get(extension, ("", ""))
    doc, path = box.store.get(kind, id), box.folder("outputs") / name
    if doc is None or not path.exists():
        raise XaiError(404, "Not Found")
    return outputs.respond(path, doc["words"], media_type)


async def unknown(box: Box, request: Request) -> Response:
    raise XaiError(404, "Not Found", "The requested resource was not found")


routes = [
    Route("/v1/chat/completions", answering(complete, like_openai=True), methods=["POST"]),
    Route("/v1/models", answering(list_models, like_openai=True), methods=["GET"]),
    Route("/v1/models/{id}", answering(show_model, like_openai=True), methods=["GET"]),
    Route("/v1/images/generations", answering(making_images(from_pictures=False)), methods=["POST"]),
    Route("/v1/images/edits", answering(making_images(from_pictures=True)), methods=["POST"]),
    *(
        Route(f"/v1/videos/{verb}", answering(starting(verb)), methods=["POST"])
        for verb in ("generations", "edits", "extensions")
    ),
    Route("/v1/videos/{id}", answering(look), methods=["GET"]),
    Route("/v1/{path:path}", answering(unknown), methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
    Route("/downloads/{name}", answering(download, with_key=False), methods=["GET"]),
]

"""KIE's REST API, `/api/v1/…`, its uploads (on a host of their own in life), and the files it hands out."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from sandbox import faults, outputs
from sandbox.box import Box, box_of
from sandbox.kie import files, tasks
from sandbox.kie.errors import KieError

Handler = Callable[[Box, Request], Awaitable[Response]]
DOWNLOAD_LINK_LIFE_S = 20 * 60


def answering(handler: Handler, *, is_upload: bool = False) -> Callable[[Request], Awaitable[Response]]:
    """The envelope around every answer: HTTP 200 whatever became of it."""

    async def answer(request: Request) -> Response:
        box = box_of(request)
        expected = f"Bearer {box.settings.kie_api_key}".encode()
        try:
            if not hmac.compare_digest(request.headers.get("authorization", "").encode(), expected):
                raise KieError(401, "You do not have access permissions")
            return await handler(box, request)
        except KieError as error:
            body = {"code": error.code, "msg": error.message, "data": None}
            return JSONResponse({"success": False} | body if is_upload else body, headers=error.headers)

    return answer


def enveloped(data: Any, **more: Any) -> Response:
    return JSONResponse({"code": 200, "msg": "success", "data": data, **more})


async def body_of(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body() or b"{}")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise KieError(422, "The request body is not a JSON object")
    return body


def origin_of(request: Request) -> str:
    """Links point where the caller found us."""
    return f"{request.url.scheme}://{request.url.netloc}"


def ordering(take: Callable[[Box, dict[str, Any], str], dict[str, Any]]) -> Handler:
    async def order(box: Box, request: Request) -> Response:
        task = take(box, await body_of(request), origin_of(request))
        if "hang" in task["words"]:
            return await faults.hang(request.scope, box)
        return enveloped({"taskId": task["id"]})

    return order


async def record_detail(box: Box, request: Request) -> Response:
    id = request.query_params.get("taskId", "")
    if not id:
        raise KieError(422, "taskId is required")
    return enveloped(tasks.public(box, tasks.load(box, id)))


async def credit(box: Box, request: Request) -> Response:
    amount = tasks.credits(box)
    return enveloped(int(amount) if amount.is_integer() else amount)


async def download_url(box: Box, request: Request) -> Response:
    url = (await body_of(request)).get("url")
    found = re.fullmatch(r"/kie/downloads/([A-Za-z0-9-]+)\.(?:mp4|png)", urlsplit(str(url)).path)
    if not isinstance(url, str) or found is None or not url.startswith(origin_of(request)):
        raise KieError(422, "The URL is not one of a file made here")
    tasks.by_video(box, found[1])
    link = outputs.link(box, origin_of(request), urlsplit(url).path, life_s=DOWNLOAD_LINK_LIFE_S)
    return enveloped(link)


async def base64_upload(box: Box, request: Request) -> Response:
    body = await body_of(request)
    content, mime_type = files.decoded(str(body.get("base64Data") or ""))
    return _kept(box, request, content, body, mime_type)


async def stream_upload(box: Box, request: Request) -> Response:
    async with request.form() as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise KieError(400, "file is required")
        fields = {name: str(value) for name, value in form.items() if not isinstance(value, UploadFile)}
        fields.setdefault("fileName", file.filename or "")
        return _kept(box, request, await file.read(), fields, file.content_type or "application/octet-stream")


async def url_upload(box: Box, request: Request) -> Response:
    body = await body_of(request)
    content = await files.fetched(box, str(body.get("fileUrl") or ""))
    return _kept(box, request, content, body, "application/octet-stream")


def _kept(box: Box, request: Request, content: bytes, fields: dict[str, Any], mime_type: str) -> Response:
    made = files.keep(
        box,
        content,
        upload_path=str(fields.get("uploadPath") or ""),
        name=str(fields.get("fileName") or ""),
        mime_type=mime_type,
        origin=origin_of(request),
    )
    return enveloped(made, success=True)


async def unknown(box: Box, request: Request) -> Response:
    raise KieError(404, "Not Found")


async def uploaded(request: Request) -> Response:
    try:
        path, mime_type = files.find(box_of(request), request.path_params["path"])
    except KieError:
        return Response(status_code=404)
    return FileResponse(path, media_type=mime_type)


async def download(request: Request) -> Response:
    """A film or its first picture: at its own address as long as it is kept, or by a link that ends sooner."""
    box, kind = box_of(request), request.path_params["kind"]
    try:
        task = tasks.by_video(box, request.path_params["video"])
    except KieError:
        return Response(status_code=404)
    if "sig" in request.query_params and outputs.refusal(box, request.url.path, request.query_params):
        return Response(status_code=403)
    path = box.folder("outputs") / f"{task['video']}.{kind}"
    if kind == "png":
        return FileResponse(path, media_type="image/png")
    return outputs.respond(path, task["words"], "video/mp4")


routes = [
    Route("/api/v1/runway/generate", answering(ordering(tasks.generate)), methods=["POST"]),
    Route("/api/v1/runway/extend", answering(ordering(tasks.extend)), methods=["POST"]),
    Route("/api/v1/runway/record-detail", answering(record_detail), methods=["GET"]),
    Route("/api/v1/chat/credit", answering(credit), methods=["GET"]),
    Route("/api/v1/common/download-url", answering(download_url), methods=["POST"]),
    Route("/api/file-base64-upload", answering(base64_upload, is_upload=True), methods=["POST"]),
    Route("/api/file-stream-upload", answering(stream_upload, is_upload=True), methods=["POST"]),
    Route("/api/file-url-upload", answering(url_upload, is_upload=True), methods=["POST"]),
    Route("/api/{path:path}", answering(unknown), methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
    Route("/files/{path:path}", uploaded, methods=["GET"]),
    Route("/downloads/{video}.{kind}", download, methods=["GET"]),
]

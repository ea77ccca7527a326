"""Faults asked for at `/control/faults`: the next calls to a provider are cut, delayed, hung or answered wrongly."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Collection
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox.box import Box
from sandbox.magic import HUGE_BYTES, RETRY_AFTER_S
from sandbox.state import Doc
from sandbox.tokens import new_id

PROVIDERS = ("razorpay", "stripe", "monnify", "magic-hour", "kie", "xai", "livekit", "smtp")
WITH_DOWNLOADS = ("magic-hour", "kie", "xai")
STATUSES = ("400", "401", "403", "404", "429", "500", "502", "503")
KIE_CODES = ("402", "408", "422", "451", "455", "501", "505")  # in the body of an answer with HTTP 200
CONTENT = ("wrongtype", "truncated", "huge")
MODES = ("refuse", "slow", "hang", *CONTENT, *STATUSES, *KIE_CODES)
REQUEST_LOG_LENGTH = 2000
BODY_KEPT = 1 << 14
HTML_PAGE = b"<!doctype html><html><body><h1>502 Bad Gateway</h1></body></html>"


def add(box: Box, wanted: dict[str, Any]) -> Doc:
    """Ask for a fault. Raises: ValueError with what is wrong."""
    unknown = set(wanted) - {"provider", "mode", "count", "seconds", "path", "method", "when"}
    if unknown:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    provider, mode = str(wanted.get("provider")), str(wanted.get("mode"))
    if provider not in PROVIDERS:
        raise ValueError(f"provider must be one of {', '.join(PROVIDERS)}")
    if mode not in MODES or (mode in KIE_CODES and provider != "kie"):
        raise ValueError(f"mode must be one of {', '.join(MODES)}")
    if wanted.get("when", "before") not in ("before", "after"):
        raise ValueError("when must be before or after")
    count = wanted.get("count", 1)
    if count is not None and (not isinstance(count, int) or count < 1):
        raise ValueError("count must be a positive number, or null for until it is cleared")
    usual = "/downloads/" if provider in WITH_DOWNLOADS and mode in CONTENT else "/v1/"
    usual = "/twirp/" if provider == "livekit" else usual
    fault: Doc = {
        "id": new_id("flt_"),
        "provider": provider,
        "mode": mode,
        "left": count,
        "seconds": float(wanted.get("seconds", 5)),
        "path": wanted.get("path") or ("/" if provider == "smtp" else usual),
        "method": wanted.get("method"),
        "when": wanted.get("when", "before"),
    }
    box.store.put("fault", fault["id"], fault)
    return fault


def take(box: Box, provider: str, method: str, path: str) -> Doc | None:
    """The oldest fault that this call meets, counted as used."""
    for fault in box.store.find("fault", newest_first=False):
        if fault["provider"] != provider or fault["path"] not in path:
            continue
        if fault["method"] and fault["method"].upper() != method:
            continue
        if fault["left"] is not None:
            fault["left"] -= 1
            if fault["left"]:
                box.store.put("fault", fault["id"], fault)
            else:
                box.store.delete("fault", fault["id"])
        return fault
    return None


def refused_once(box: Box, provider: str, words: Collection[str], *texts: str | None) -> int | None:
    """The status that a magic word wants for this text's first submit; None for its second, in turn.

    An id inside the text makes it no other text.
    """
    for status in (429, 500):
        if str(status) not in words:
            continue
        text = next(text for text in texts if text and f"sandbox:{status}" in text.lower())
        key = f"{provider}:{status}:{re.sub(r'[0-9a-fA-F-]{8,}', '', text)}"
        if box.store.get("refused", key) is None:
            box.store.put("refused", key, {})
            return status
        box.store.delete("refused", key)
    return None


async def hang(scope: Scope, box: Box) -> Response:
    """Never answer: hold the connection until the caller or the sandbox gives up, then cut it."""
    transport = scope["state"]["transport"]
    while not box.stopping.is_set() and not transport.is_closing():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(box.stopping.wait(), 0.2)
    return await cut(scope)


async def cut(scope: Scope) -> Response:
    """Close the connection without an answer; what is returned reaches nobody."""
    scope["state"]["transport"].abort()
    await asyncio.sleep(0)
    return Response()


class Faults:
    """ASGI middleware in front of the providers; it also logs their calls for `/control/requests`."""

    def __init__(self, app: ASGIApp, box: Box) -> None:
        self.app, self.box = app, box

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        provider = scope["path"].split("/")[1] if scope["type"] == "http" else ""
        if provider not in PROVIDERS:
            await self.app(scope, receive, send)
            return
        path = scope["path"].removeprefix(f"/{provider}")
        record = self._log(provider, path, scope)
        receive = _overheard(receive, record)

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                record["status"] = message["status"]
            await send(message)

        fault = take(self.box, provider, scope["method"], path)
        if fault is None:
            await self.app(scope, receive, noting)
            return
        record["fault"] = fault["mode"]
        await self._misbehave(fault, provider, scope, receive, noting)

    def _log(self, provider: str, path: str, scope: Scope) -> Doc:
        headers = {name.decode(): value.decode(errors="replace") for name, value in scope["headers"]}
        if "authorization" in headers:
            headers["authorization"] = headers["authorization"].partition(" ")[0] + " …"
        record: Doc = {
            "at": time.time(), "provider": provider, "method": scope["method"], "path": path,
            "query": scope["query_string"].decode(errors="replace"), "headers": headers, "body": None, "status": None,
            "fault": None,
        }  # fmt: skip
        self.box.requests.append(record)
        del self.box.requests[:-REQUEST_LOG_LENGTH]
        return record

    async def _misbehave(self, fault: Doc, provider: str, scope: Scope, receive: Receive, send: Send) -> None:
        mode, after = fault["mode"], fault["when"] == "after"
        answer: list[Message] = []
        if after or mode == "truncated":
            # The effect happens; only the answer goes wrong.
            answer = await self._answer(scope, receive)
        if mode == "slow":
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.box.stopping.wait(), fault["seconds"])
            if not after:
                await self.app(scope, receive, send)
            for message in answer:
                await send(message)
            return
        response: Response
        if mode == "hang":
            response = await hang(scope, self.box)
        elif mode == "refuse":
            response = await cut(scope)
        elif mode == "truncated":
            await _send_half(answer, scope, send)
            return
        else:
            if not after:
                await _drain(Request(scope, receive))
            response = _wrong(mode, provider, is_download="/downloads/" in scope["path"])
        await response(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> list[Message]:
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self.app(scope, receive, keep)
        return messages


def _overheard(receive: Receive, record: Doc) -> Receive:
    """The same messages; what JSON they carry is kept with the call as it came over the wire."""
    heard = bytearray()

    async def hear() -> Message:
        message = await receive()
        is_json = record["headers"].get("content-type", "").startswith("application/json")
        if message["type"] == "http.request" and is_json and len(heard) < BODY_KEPT:
            heard.extend(message.get("body", b""))
            record["body"] = heard[:BODY_KEPT].decode(errors="replace")
        return message

    return hear


async def _drain(request: Request) -> None:
    async for _ in request.stream():
        pass


async def _send_half(answer: list[Message], scope: Scope, send: Send) -> None:
    body = b"".join(message.get("body", b"") for message in answer)
    await send(answer[0])
    await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
    # A graceful close after what was written, so that the half really arrives.
    scope["state"]["transport"].close()
    await asyncio.sleep(0)


def _wrong(mode: str, provider: str, *, is_download: bool) -> Response:
    expected = "image/png" if is_download else "application/json"
    if mode == "wrongtype":
        return Response(HTML_PAGE, media_type=expected)
    if mode == "huge":
        return StreamingResponse(_zeros(b"\x89PNG\r\n\x1a\n" if is_download else b" "), media_type=expected)
    status = int(mode)
    code = "SERVER_ERROR" if status >= 500 else "BAD_REQUEST_ERROR"
    body: dict[str, Any] = {"message": f"Simulated {status}"}
    if provider == "razorpay":
        body = {
            "error": {
                "code": code, "description": f"Simulated {status}", "source": "NA", "step": "NA", "reason": "NA",
                "metadata": {},
            }
        }  # fmt: skip
    if provider == "stripe":
        kind = "api_error" if status >= 500 else "invalid_request_error"
        body = {"error": {"message": f"Simulated {status}", "type": kind}}
    if provider == "xai":
        body = {"code": "The service failed" if status >= 500 else code, "error": f"Simulated {status}"}
    if provider == "monnify":
        body = {"requestSuccessful": False, "responseMessage": f"Simulated {status}", "responseCode": "99"}
    headers = {"Retry-After": str(RETRY_AFTER_S)} if mode == "429" else {}
    if provider == "kie" and status not in (502, 503):  # those are what stands before it
        return JSONResponse({"code": status, "msg": f"Simulated {status}", "data": None}, headers=headers)
    return Response(json.dumps(body), status_code=status, media_type="application/json", headers=headers)


async def _zeros(start: bytes) -> AsyncIterator[bytes]:
    yield start
    piece = start[-1:] * (256 * 1024) if start == b" " else bytes(256 * 1024)
    for _ in range(HUGE_BYTES // len(piece)):
        yield piece

"""LiveKit's room service over Twirp, as JSON or as the SDKs' protobuf, and a page to join by."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.box import Box, box_of
from sandbox.livekit import protobuf, rooms, tokens
from sandbox.state import Doc

GRANTS = {"CreateRoom": "roomCreate", "DeleteRoom": "roomCreate", "ListRooms": "roomList"}


def refused(status: int, code: str, message: str) -> Response:
    return JSONResponse({"code": code, "msg": message, "meta": {}}, status_code=status)


def claims_of(box: Box, token: str) -> dict[str, Any] | None:
    return tokens.read(box.settings.livekit_api_secret, box.settings.livekit_api_key, token)


async def call(request: Request) -> Response:
    box, method = box_of(request), request.path_params["method"]
    if method not in GRANTS:
        return refused(404, "bad_route", f"no handler for {method}")
    claims = claims_of(box, request.headers.get("authorization", "").removeprefix("Bearer "))
    if claims is None:
        return refused(401, "unauthenticated", "invalid API key or token")
    if not claims.get("video", {}).get(GRANTS[method]):
        return refused(403, "permission_denied", "permissions denied")
    spoken = request.headers.get("content-type", "").partition(";")[0]
    if spoken not in ("application/json", protobuf.CONTENT_TYPE):
        return refused(404, "bad_route", f"unexpected Content-Type: {spoken!r}")
    said = await request.body()
    try:
        body = protobuf.read(method, said) if spoken == protobuf.CONTENT_TYPE else json.loads(said or b"{}")
        name = str(body.get("name" if method == "CreateRoom" else "room", ""))
        if method == "CreateRoom":
            if not name:
                return refused(400, "invalid_argument", "name is required")
            room = rooms.public(rooms.create(box, name, body))
            return _told(spoken, room, protobuf.room(room))
        if method == "DeleteRoom":
            there = rooms.delete(box, name)
            return _told(spoken, {}, b"") if there else refused(404, "not_found", "requested room does not exist")
        wanted = body.get("names") or []
    except (ValueError, AttributeError):
        return refused(400, "malformed", "the body is neither a JSON object nor the method's message")
    every = [rooms.public(room) for room in box.store.find(rooms.KIND, newest_first=False)]
    found = [room for room in every if not wanted or room["name"] in wanted]
    return _told(spoken, {"rooms": found}, protobuf.list_of(found))


def _told(spoken: str, shown: Doc, message: bytes) -> Response:
    """In the language that was spoken."""
    if spoken == protobuf.CONTENT_TYPE:
        return Response(message, media_type=protobuf.CONTENT_TYPE)
    return JSONResponse(shown)


async def join(request: Request) -> Response:
    """What a client does by WebSocket: come in with a token."""
    box = box_of(request)
    claims = claims_of(box, request.query_params.get("access_token", ""))
    if claims is None:
        return refused(401, "unauthenticated", "invalid token")
    grant = claims.get("video", {})
    if not (grant.get("roomJoin") and grant.get("room") and claims.get("sub")):
        return refused(403, "permission_denied", "the token is not one to join by")
    return JSONResponse(rooms.join(box, grant["room"], claims["sub"]))


async def leave(request: Request) -> Response:
    """`?event=&reason=`: a client is gone, in good order or not."""
    query = request.query_params
    there = rooms.leave(
        box_of(request),
        request.path_params["room"],
        request.path_params["identity"],
        event=query.get("event", "participant_left"),
        reason=query.get("reason", "CLIENT_INITIATED"),
    )
    return JSONResponse({}) if there else refused(404, "not_found", "participant does not exist")


routes = [
    Route("/twirp/livekit.RoomService/{method}", call, methods=["POST"]),
    Route("/rtc", join, methods=["POST"]),
    Route("/dashboard/{room}/{identity}/leave", leave, methods=["POST"]),
]

"""LiveKit: rooms over its Twirp API, tokens to join them, the signature of its webhooks.

Source: LiveKit's protocol repository and server SDK for Python
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import jwt
from django.conf import settings

from core import http
from core.clock import now as clock_now
from inbox.deliveries import Verdict

TIMEOUT_S = 10
# Their side allows a token that much beyond its end.
LEEWAY_S = 60


class Refused(Exception):
    """LiveKit said no, and will again."""


class Away(Exception):
    """LiveKit gave no usable answer; another try may have one."""


def is_configured() -> bool:
    """Whether calls have rooms here; without, the apps connect people by themselves, and calls meter all the same."""
    return bool(settings.LIVEKIT_BASE_URL and settings.LIVEKIT_API_KEY and settings.LIVEKIT_API_SECRET)


def client_url() -> str:
    """Where clients join: the same host, by WebSocket."""
    return str(settings.LIVEKIT_BASE_URL).replace("http", "ws", 1)


def join_token(room: str, identity: str) -> tuple[str, datetime]:
    """A token to join one room as one person, and its end: good for one slice."""
    began = clock_now()
    ends_at = began + timedelta(seconds=settings.CALL_SLICE_S)
    grant = {"roomJoin": True, "room": room, "canPublish": True, "canSubscribe": True, "canPublishData": True}
    return _token(began, ends_at, {"sub": identity, "video": grant}), ends_at


def create_room(room: str) -> None:
    """Make the room; one that is there already stays.

    Raises: Refused, Away.
    """
    body = {"name": room, "empty_timeout": int(settings.CALL_RING_S + settings.CALL_SLICE_S), "max_participants": 2}
    _call("CreateRoom", body)


def delete_room(room: str) -> None:
    """Delete the room, which disconnects everybody; one that is gone already is done.

    Raises: Refused, Away.
    """
    _call("DeleteRoom", {"room": room})


def _token(began: datetime, ends_at: datetime, claims: dict[str, Any]) -> str:
    times = {"nbf": int(began.timestamp()), "exp": int(ends_at.timestamp())}
    return jwt.encode({"iss": settings.LIVEKIT_API_KEY, **times, **claims}, settings.LIVEKIT_API_SECRET, "HS256")


def _call(method: str, body: dict[str, Any]) -> None:
    began = clock_now()
    token = _token(began, began + timedelta(minutes=10), {"video": {"roomCreate": True}})
    try:
        answer = http.call(
            "POST",
            f"{settings.LIVEKIT_BASE_URL}/twirp/livekit.RoomService/{method}",
            headers={"Authorization": f"Bearer {token}"},
            json=body,
            timeout_s=TIMEOUT_S,
        )
    except http.CallFailed as error:
        raise Away(str(error)) from error
    if answer.status == 200 or (method == "DeleteRoom" and answer.status == 404):
        return
    said = f"{method}: {answer.status} {answer.body[:200].decode(errors='replace')}"
    if answer.status >= 500 or answer.status in (408, 429):
        raise Away(said)
    raise Refused(said)


def verify_webhook(headers: Mapping[str, str], body: bytes, *, now: int) -> Verdict:
    """Whether LiveKit signed this body: a token of ours in `Authorization`, without a scheme, with the body's hash.

    Units: `now` in seconds since 1970.
    """
    if not is_configured():
        return Verdict.NOT_CONFIGURED
    given = {name.lower(): value for name, value in headers.items()}.get("authorization", "")
    try:
        claims = jwt.decode(
            given,
            settings.LIVEKIT_API_SECRET,
            algorithms=["HS256"],
            issuer=settings.LIVEKIT_API_KEY,
            options={"require": ["exp"], "verify_exp": False, "verify_nbf": False, "verify_iat": False},
        )
        ends_at = int(claims["exp"])
    except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError):
        return Verdict.INVALID
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    if not hmac.compare_digest(digest.encode(), str(claims.get("sha256", "")).encode()):
        return Verdict.INVALID
    return Verdict.VALID if now <= ends_at + LEEWAY_S else Verdict.STALE

"""What the providers made, behind signed links that end: the true file, or what a magic word made of it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Collection, Mapping
from pathlib import Path

from starlette.responses import FileResponse, Response, StreamingResponse

from sandbox.box import Box
from sandbox.magic import HUGE_BYTES
from sandbox.tokens import link_signature

LINK_LIFE_S = 24 * 3600
HTML_PAGE = b"<!doctype html><title>Not what it says</title>"


def link(box: Box, origin: str, path: str, *, life_s: float = LINK_LIFE_S) -> str:
    """A link of ours with an end, by the sandbox's clock."""
    expires = int(box.agenda.now() + life_s)
    return f"{origin}{path}?expires={expires}&sig={link_signature(box.link_secret, path, expires)}"


def expires_at() -> float:
    """The end of a link made now, as bodies show it: in real time."""
    return time.time() + LINK_LIFE_S


def refusal(box: Box, path: str, query: Mapping[str, str]) -> str | None:
    """Why the link is not good; None when it is."""
    expires = query.get("expires", "")
    if not expires.isdecimal() or query.get("sig") != link_signature(box.link_secret, path, int(expires)):
        return "SignatureDoesNotMatch"
    return "Request has expired" if int(expires) < box.agenda.now() else None


def respond(path: Path, words: Collection[str], media_type: str) -> Response:
    """Serve an output as the magic words of its prompt want it."""
    if "wrongtype" in words:
        return Response(HTML_PAGE, media_type=media_type)
    if "corrupt" in words:
        return Response(cut(path.read_bytes()), media_type=media_type)
    if "huge" in words:
        return StreamingResponse(_endless(path.read_bytes()), media_type=media_type)
    return FileResponse(path, media_type=media_type)


def cut(whole: bytes) -> bytes:
    return whole[: len(whole) * 3 // 5]


async def _endless(start: bytes) -> AsyncIterator[bytes]:
    """A true file, then zeros up to 2 GB, of which only one piece ever exists."""
    piece = bytes(256 * 1024)
    yield start
    for _ in range((HUGE_BYTES - len(start)) // len(piece)):
        yield piece
    yield bytes((HUGE_BYTES - len(start)) % len(piece))

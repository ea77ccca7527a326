"""What a caller's order works from: bytes behind a URL of this machine, or inside a data URL."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import unquote_to_bytes, urlsplit

from sandbox import outbound
from sandbox.box import Box

LARGEST = 50 * 1024**2


class Unreadable(Exception):
    """Why the bytes could not be had."""


def is_near(box: Box, url: str) -> bool:
    """Whether the URL leads to this machine or to PUBLIC_URL: the sandbox goes nowhere else."""
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1", urlsplit(box.settings.public_url).hostname)


async def read(box: Box, url: str, *, max_bytes: int = LARGEST) -> bytes:
    """The bytes. The sandbox reaches this machine and PUBLIC_URL only, never the internet.

    Raises: Unreadable.
    """
    if url.startswith("data:"):
        return _inside(url)
    if not is_near(box, url):
        raise Unreadable(f"The sandbox does not fetch from {urlsplit(url).hostname}")
    try:
        answer = await outbound.request("GET", url, timeout_s=20, max_bytes=max_bytes)
    except outbound.RequestFailed as error:
        raise Unreadable(f"It could not be downloaded: {error}") from error
    if answer.status != 200:
        raise Unreadable(f"It could not be downloaded: HTTP {answer.status}")
    return answer.body


def _inside(url: str) -> bytes:
    head, comma, data = url.partition(",")
    if not comma:
        raise Unreadable("The data URL has no data")
    if not head.endswith(";base64"):
        return unquote_to_bytes(data)
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unreadable("The data URL is not base64") from error

"""Input files: signed upload links, and finding the bytes behind an asset path."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sandbox import inputs, outputs
from sandbox.box import Box
from sandbox.magic_hour.errors import MagicHourError
from sandbox.render import RenderError
from sandbox.state import Doc
from sandbox.tokens import new_id

EXTENSIONS = {
    "image": "png jpg jpeg jfif heic heif webp avif jp2 tiff tif bmp",
    "video": "mp4 m4v mov webm",
    "audio": "mp3 wav aac flac webm weba m4a opus ogg oga aiff amr",
}
ACCOUNT_ID = "sandbox-account"
LARGEST_UPLOAD = 200 * 1024**2


def iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds * 1000) % 1000:03d}Z"


def signed_link(box: Box, origin: str, path: str) -> Doc:
    return {"url": outputs.link(box, origin, path), "expires_at": iso(outputs.expires_at())}


def check_link(box: Box, path: str, query: Mapping[str, str]) -> None:
    if refusal := outputs.refusal(box, path, query):
        raise MagicHourError(403, refusal)


def upload_urls(box: Box, body: dict[str, Any], origin: str) -> Doc:
    items = body.get("items")
    if not isinstance(items, list) or not items:
        raise MagicHourError(400, "items: Required")
    answers = []
    for index, item in enumerate(items):
        kind = item.get("type") if isinstance(item, dict) else None
        extension = str(item.get("extension", "")).lower() if isinstance(item, dict) else ""
        if kind not in EXTENSIONS:
            raise MagicHourError(400, f"items[{index}].type: Invalid enum value. Expected 'video' | 'audio' | 'image'")
        if extension not in EXTENSIONS[kind].split():
            raise MagicHourError(400, f"items[{index}].extension: '{extension}' is not supported for {kind}")
        name = f"{new_id('', 20)}.{extension}"
        link = signed_link(box, origin, f"/magic-hour/uploads/{name}")
        answers.append(
            {
                "upload_url": link["url"],
                "expires_at": link["expires_at"],
                "file_path": f"api-assets/{ACCOUNT_ID}/{name}",
            }
        )
    return {"items": answers}


def upload_path(box: Box, name: str) -> Path:
    if not re.fullmatch(r"[A-Za-z0-9]{20}\.[a-z0-9]{2,4}", name):
        raise MagicHourError(404, "Not Found")
    return box.folder("uploads") / name


def check_asset(box: Box, value: Any, field: str) -> str:
    """Answer the asset path if it names an uploaded file, or a URL the provider would accept."""
    if not isinstance(value, str) or not value:
        raise MagicHourError(400, f"{field}: Required")
    if value.startswith(("http://", "https://")):
        extension = urlsplit(value).path.rpartition(".")[2].lower()
        if extension not in EXTENSIONS["image"].split():
            raise MagicHourError(400, f"{field}: the URL must show a supported file extension")
        return value
    match = re.fullmatch(rf"api-assets/{ACCOUNT_ID}/([^/]+)", value)
    if not match or not upload_path(box, match[1]).exists():
        raise MagicHourError(400, f"{field}: file does not exist: {value}")
    return value


async def photo(box: Box, asset: str) -> Path:
    """Bring an asset to a local file. The sandbox reaches this machine and PUBLIC_URL only, never the internet.

    Raises: RenderError where the real provider would end the job with an error.
    """
    if not asset.startswith("http"):
        return upload_path(box, asset.rpartition("/")[2])
    try:
        body = await inputs.read(box, asset)
    except inputs.Unreadable as error:
        raise RenderError("invalid_file_format", str(error)) from error
    path = upload_path(box, f"{new_id('', 20)}.{urlsplit(asset).path.rpartition('.')[2].lower()}")
    path.write_bytes(body)
    return path

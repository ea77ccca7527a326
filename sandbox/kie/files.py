"""Uploaded inputs: kept for a day under the path that the caller chose; the same name overwrites."""

from __future__ import annotations

import base64
import binascii
import mimetypes
import re
import time
from pathlib import Path

from sandbox import inputs
from sandbox.box import Box
from sandbox.kie.errors import KieError
from sandbox.state import Doc
from sandbox.tokens import new_id

KIND = "kie.file"
LIFE_S = 24 * 3600
LARGEST = 100 * 1024**2
LARGEST_BASE64 = 10 * 1024**2
_PATH = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")


def keep(box: Box, content: bytes, *, upload_path: str, name: str, mime_type: str, origin: str) -> Doc:
    """Take a file's bytes. Raises: KieError."""
    folder = upload_path.strip("/")
    if not _PATH.fullmatch(folder):
        raise KieError(400, "uploadPath is required")
    if not content:
        raise KieError(400, "The file is empty")
    if len(content) > LARGEST:
        raise KieError(400, "The file is too large")
    name = name or new_id("", 12) + (mimetypes.guess_extension(mime_type) or "")
    if not _NAME.fullmatch(name):
        raise KieError(400, "fileName is not valid")
    path = f"{folder}/{name}"
    file: Doc = {"stored": new_id("kie-", 20), "mime_type": mime_type, "at": box.agenda.now()}
    (box.folder("uploads") / file["stored"]).write_bytes(content)
    box.store.put(KIND, path, file)
    return {
        "fileName": name,
        "filePath": path,
        "downloadUrl": f"{origin}/kie/files/{path}",
        "fileSize": len(content),
        "mimeType": mime_type,
        "uploadedAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def decoded(given: str) -> tuple[bytes, str]:
    """The bytes and type in plain base64 or a data URL. Raises: KieError."""
    head, _, data = given.rpartition(",")
    try:
        content = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise KieError(400, "base64Data is not valid") from error
    if len(content) > LARGEST_BASE64:
        raise KieError(400, "base64Data is too large; use the stream upload")
    return content, head.removeprefix("data:").partition(";")[0] or "application/octet-stream"


async def fetched(box: Box, url: str) -> bytes:
    """Raises: KieError."""
    try:
        return await inputs.read(box, url, max_bytes=LARGEST)
    except inputs.Unreadable as error:
        raise KieError(400, f"Failed to fetch the file: {error}") from error


def find(box: Box, path: str) -> tuple[Path, str]:
    """Where an upload lies, and its type. Raises: KieError."""
    file = box.store.get(KIND, path)
    if file is None or file["at"] + LIFE_S < box.agenda.now():
        raise KieError(404, "Not Found")
    return box.folder("uploads") / file["stored"], file["mime_type"]

"""The models on offer."""

from __future__ import annotations

from typing import Any

from sandbox.xai.errors import XaiError

MODELS: dict[str, tuple[str, ...]] = {
    "chat": (
        *("grok-4.7", "grok-4.6", "grok-4.5", "grok-4.3"),
        *("grok-4.20-0309-reasoning", "grok-4.20-0309-non-reasoning"),
    ),
    "image": ("grok-imagine-image", "grok-imagine-image-quality", "grok-imagine-image-2.0"),
    "video": ("grok-imagine-video", "grok-imagine-video-1.5"),
}
SINCE = 1_770_000_000


def check(name: Any, kind: str) -> str:
    """Raises: XaiError when there is no such model of this kind."""
    if not isinstance(name, str) or not name:
        raise XaiError(422, "missing field `model`")
    if name not in MODELS[kind]:
        raise XaiError(404, f"The model {name} does not exist or your team does not have access to it.")
    return name


def listed() -> dict[str, Any]:
    names = [name for names in MODELS.values() for name in names]
    data = [{"id": name, "object": "model", "created": SINCE, "owned_by": "xai"} for name in names]
    return {"object": "list", "data": data}

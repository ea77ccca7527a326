"""xAI: pictures at once, films by request and look, long films by extensions. It has no webhooks, cannot cancel or
delete, and knows no idempotency key; what it made stays at its addresses for a day.

Source: the vendor's REST reference, its SDK and protocol files
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from math import ceil, log
from typing import Any
from urllib.parse import quote

import structlog
from django.conf import settings

from core import http
from generation.providers import xai_avatars, xai_chat, xai_wire
from generation.providers.base import (
    Callback,
    Input,
    Order,
    Provider,
    ProviderError,
    Rejected,
    Seen,
    Submitted,
    Treatment,
    Unavailable,
    Unknown,
)

logger = structlog.get_logger("xai")

_QUALITIES = {"standard": "low", "hd": "medium", "premium": "high"}
_RATIOS = {"1:1": 1.0, "16:9": 16 / 9, "9:16": 9 / 16, "4:3": 4 / 3, "3:4": 3 / 4, "3:2": 3 / 2, "2:3": 2 / 3}
_STYLES = {
    "natural": "Natural light and true colours, as seen.",
    "cinematic": "Cinematic: shallow focus, dramatic light, film colours.",
    "artistic": "Artistic: painterly light and expressive colours.",
}
_LONGEST_START, _LONGEST_EXTENSION, _BEST_EXTENSION = 15, 10, 6
_RESOLUTION = "720p"
_USUAL_SIZE = (1024, 1024)
FACE_SIZE = (512, 512)
# xAI takes a picture without words and then fails on it.
_WORDLESS = "Bring this picture to life with gentle, natural movement."
_GOES_ON = "The film goes on without a cut."


class Xai(Provider):
    code = "xai"
    cost_unit = xai_wire.COST_UNIT

    @property
    def base_url(self) -> str:
        return str(settings.XAI_BASE_URL)

    @property
    def resolve_window_s(self) -> float:
        return 0  # nothing calls back

    @property
    def is_configured(self) -> bool:
        return bool(settings.XAI_API_KEY)

    def queue(self, kind: str) -> str:
        return "providers" if kind == "video" else "providers_sync"

    def stages(self, order: Order) -> int:
        """A start, and the extensions that make the film as long as it was ordered."""
        return len(_lengths(order)) if order.kind == "video" else 1

    def treatment(self, order: Order) -> Treatment:
        """Pictures come somewhat larger than they were ordered; films always have sound."""
        if order.kind == "video":
            return Treatment(mute=order.params.get("with_audio") is False)
        return Treatment(size=_size(order))

    def prepare(self, order: Order) -> Mapping[str, Any]:
        """A better wording of the prompt, where it is wanted and not there yet. Lost, it is asked for again."""
        params = order.params
        if not params.get("optimize_prompt") or not params.get("prompt") or "optimized_prompt" in params:
            return {}
        is_film = order.kind == "video"
        wording, cost = xai_chat.better_wording(
            params["prompt"],
            subject=params.get("base_prompt"),
            things="films of some seconds" if is_film else "still pictures",
            timeout_s=settings.XAI_TIMEOUT_S if is_film else settings.XAI_SYNC_TIMEOUT_S,
        )
        return {"optimized_prompt": wording, "cost": None if cost is None else str(cost)}

    def submit(self, order: Order, prepared: Mapping[str, Any]) -> Submitted:
        if order.operation == "avatar":
            return xai_avatars.make(order, self._pictures)
        return self._film(order) if order.kind == "video" else self._pictures(order)

    def poll(self, provider_job_id: str) -> Seen:
        path = f"/v1/videos/{quote(provider_job_id, safe='')}"
        try:
            answer = xai_wire.call("GET", path, timeout_s=settings.XAI_TIMEOUT_S)
        except http.CallFailed as error:
            raise Unavailable(str(error)) from error
        if answer.status == 404:
            return Seen("gone")
        said = xai_wire.read(answer)
        if answer.status >= 300:
            refusal = self.classify_error(answer.status, said, answer.headers)
            if not isinstance(refusal, Rejected):
                raise refusal
            # Here a refusal is the verdict on the film, and may be billed.
            return Seen("failed", cost=refusal.cost, error=refusal, answer={"error": refusal.message})
        return _seen(said)

    def cancel(self, provider_job_id: str) -> None:
        """Nothing: xAI can neither stop a film nor delete one, which it drops by itself after a day."""
        logger.info("xai_cannot_cancel", request=provider_job_id)

    def parse_callback(self, event: Mapping[str, Any]) -> Callback | None:
        return None

    def classify_error(self, status: int, body: Mapping[str, Any], headers: Mapping[str, str]) -> ProviderError:
        return xai_wire.error_of(status, body, headers)

    def _pictures(self, order: Order, *, timeout_s: float | None = None) -> Submitted:
        params, size = order.params, _size(order)
        body: dict[str, Any] = {
            "model": order.model or settings.XAI_IMAGE_MODEL,
            "prompt": _words(order),
            "n": int(params.get("count") or 1),
            "response_format": "url",
            "aspect_ratio": min(_RATIOS, key=lambda name: abs(log(_RATIOS[name] * size[1] / size[0]))),
            "resolution": "2k" if max(size) > 1024 else "1k",
            "quality": _QUALITIES[params.get("quality") or "standard"],
        }
        pictures = [{"url": _data_url(photo), "type": "image_url"} for photo in order.inputs]
        if pictures:
            body |= {"image": pictures[0]} if len(pictures) == 1 else {"images": pictures}
        path = "/v1/images/edits" if pictures else "/v1/images/generations"
        said = xai_wire.send(path, body, timeout_s=timeout_s or settings.XAI_SYNC_TIMEOUT_S)
        cost = xai_wire.cost_of(said)
        made = said.get("data")
        if not isinstance(made, list) or not all(isinstance(one, dict) for one in made):
            raise Unknown("the answer has no pictures")
        kept = {"usage": said.get("usage"), "block_reason": said.get("block_reason"), "pictures": len(made)}
        addresses = tuple(_address(one) for one in made if one.get("respect_moderation") is not False)
        if said.get("block_reason") or len(addresses) < len(made) or (made and not all(addresses)):
            # A placeholder may stand in for what was blocked: all pictures or none.
            raise Rejected(f"blocked: {said.get('block_reason')}", code="moderated", cost=cost)
        if not addresses:
            raise Unknown("the answer has no pictures")
        return Submitted(None, cost, kept, outputs=addresses)

    def _film(self, order: Order) -> Submitted:
        seconds = _lengths(order)[order.stage - 1]
        body: dict[str, Any] = {
            "model": order.model or settings.XAI_VIDEO_MODEL,
            "prompt": _words(order),
            "duration": seconds,
        }
        if order.stage > 1:
            path, body["video"] = "/v1/videos/extensions", {"url": order.previous}
        else:
            path, body["resolution"] = "/v1/videos/generations", _RESOLUTION
            if order.params.get("aspect_ratio"):
                body["aspect_ratio"] = order.params["aspect_ratio"]
            if order.inputs:
                body["image"] = {"url": _data_url(order.inputs[0])}
        said = xai_wire.send(path, body, timeout_s=settings.XAI_TIMEOUT_S)
        if not isinstance(said.get("request_id"), str) or not said["request_id"]:
            raise Unknown("answered without a request_id")
        return Submitted(said["request_id"], answer={"request_id": said["request_id"], "seconds": seconds})


def _lengths(order: Order) -> list[int]:
    """How long the film is at first and what each extension adds. Extensions of six seconds and more hold together."""
    whole = int(order.params.get("duration") or _BEST_EXTENSION)
    if whole <= _LONGEST_START:
        return [whole]
    count = ceil((whole - _LONGEST_START) / _LONGEST_EXTENSION)
    added = max(whole - _LONGEST_START, count * _BEST_EXTENSION)
    parts = [added // count + (at < added % count) for at in range(count)]
    return [whole - added, *parts]


def _size(order: Order) -> tuple[int, int]:
    """Units: pixels."""
    if order.kind == "avatar":
        return FACE_SIZE
    named = order.params.get("size")
    if not named:
        return _USUAL_SIZE
    width, _, height = str(named).partition("x")
    return int(width), int(height)


def _words(order: Order) -> str:
    """What the model reads: who is in it, the better wording if there is one; for films the style, and going on."""
    params = order.params
    said = params.get("optimized_prompt") or params.get("prompt") or ""
    if order.kind != "video":
        return " ".join(part for part in (params.get("base_prompt"), said) if part)
    goes_on = _GOES_ON if order.stage > 1 else ""
    return " ".join(part for part in (said or _WORDLESS, _STYLES.get(params.get("style", ""), ""), goes_on) if part)


def _data_url(photo: Input) -> str:
    """The photo inside an address. Raises: InputAway."""
    return f"data:{photo.content_type};base64,{base64.b64encode(photo.read()).decode()}"


def _address(made: Mapping[str, Any]) -> str:
    """Where a picture is, or the picture itself; empty for none."""
    if made.get("url"):
        return str(made["url"])
    body = str(made.get("b64_json") or "").rpartition(",")[2]
    return f"data:{made.get('mime_type') or 'image/jpeg'};base64,{body}" if body else ""


def _seen(said: Mapping[str, Any]) -> Seen:
    """A film as the answer to a look shows it. A body without a status that names a film says that it is done."""
    raw = said.get("video")
    video: Mapping[str, Any] = raw if isinstance(raw, dict) else {}
    status = said.get("status") or ("done" if video.get("url") else "pending")
    cost = xai_wire.cost_of(said)
    kept = {name: said.get(name) for name in ("status", "model", "usage", "error")}
    if status == "done":
        if video.get("respect_moderation") is False or not video.get("url"):
            return Seen("failed", cost=cost, error=Rejected("withheld", code="moderated"), answer=kept)
        return Seen("succeeded", 100, (str(video["url"]),), cost=cost, answer=kept)
    if status == "failed":
        error = str(said.get("error") or "")[:200]
        code = "moderated" if xai_wire.MODERATION.search(error) else "provider_failed"
        return Seen("failed", cost=cost, error=Rejected(error, code=code), answer=kept)
    if status == "expired":
        return Seen("failed", cost=cost, error=Rejected("expired", code="provider_lost"), answer=kept)
    progress = said.get("progress")
    return Seen("running", min(max(progress, 0), 99) if isinstance(progress, int) else 0, cost=cost)

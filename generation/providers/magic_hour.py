"""Magic Hour: headshots. It knows no idempotency key and lists no jobs; only `name` comes back to us.

Source: the vendor's REST reference and webhook guide
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import quote

from django.conf import settings

from core import http
from generation.providers.base import (
    Callback,
    Input,
    Misconfigured,
    Order,
    Provider,
    ProviderError,
    Rejected,
    Seen,
    Submitted,
    Unavailable,
    Unknown,
)
from inbox.deliveries import Verdict

TOLERANCE_S = 300
_TOKEN = re.compile(r"at_[0-9a-f]{32}")
_NAME_MAX = 80
_EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp"}

# The provider's error codes are an open set; these have a meaning of their own for our customers.
_FAILURES = {
    "no_source_face": "no_source_face",
    "multiple_faces": "no_source_face",
    "invalid_file_format": "photo_refused",
    "file_too_large": "photo_refused",
    "invalid_parameters": "provider_rejected",
    "insufficient_credits": "provider_unavailable",
}
_MODERATION = re.compile(r"moderat|nsfw|safety|content.?policy|inappropriate|prohibited", re.I)
_STATUSES = {"complete": "succeeded", "error": "failed", "canceled": "canceled"}


class MagicHour(Provider):
    code = "magic-hour"
    cost_unit = "magic-hour credits"

    @property
    def base_url(self) -> str:
        return str(settings.MAGIC_HOUR_BASE_URL)

    @property
    def resolve_window_s(self) -> float:
        return float(settings.MAGIC_HOUR_RESOLVE_S)

    @property
    def is_configured(self) -> bool:
        return bool(settings.MAGIC_HOUR_API_KEY)

    def prepare(self, order: Order) -> Mapping[str, Any]:
        """Upload the photo. An upload without a job costs nothing and may be repeated."""
        return {"file_path": self._upload(order.inputs[0])}

    def submit(self, order: Order, prepared: Mapping[str, Any]) -> Submitted:
        body: dict[str, Any] = {
            "name": self._name(order),
            "assets": {"image_file_path": prepared["file_path"]},
        }
        if order.params.get("style_prompt"):
            body["style"] = {"prompt": order.params["style_prompt"]}
        try:
            answer = self._call("POST", "/v1/ai-headshot-generator", json=body)
        except http.NotSent as error:
            raise Unavailable(str(error)) from error
        except http.NoAnswer as error:
            raise Unknown(str(error)) from error
        said = _json(answer)
        if isinstance(said.get("id"), str) and said["id"]:
            return Submitted(said["id"], _cost(said), {name: said.get(name) for name in ("id", "credits_charged")})
        if answer.status < 300:
            raise Unknown(f"answered {answer.status} without an id", status=answer.status)
        raise self.classify_error(answer.status, said, answer.headers)

    def poll(self, provider_job_id: str) -> Seen:
        try:
            answer = self._call("GET", f"/v1/image-projects/{quote(provider_job_id, safe='')}")
        except http.CallFailed as error:
            raise Unavailable(str(error)) from error
        if answer.status == 404:
            return Seen("gone")
        said = _json(answer)
        if answer.status != 200:
            refusal = self.classify_error(answer.status, said, answer.headers)
            # A look is free: what would be a verdict on an order is here only a look that failed.
            raise Unavailable(refusal.message, status=answer.status) if isinstance(refusal, Rejected) else refusal
        status = _STATUSES.get(str(said.get("status")), "running")
        kept = {name: said.get(name) for name in ("id", "status", "credits_charged", "error", "enabled")}
        return Seen(
            status=status,  # type: ignore[arg-type]
            progress=50 if said.get("status") == "rendering" else 0,
            outputs=tuple(str(item["url"]) for item in said.get("downloads") or () if item.get("url")),
            cost=_cost(said),
            error=_failure(said.get("error")) if status == "failed" else None,
            answer=kept,
        )

    def cancel(self, provider_job_id: str) -> None:
        try:
            answer = self._call("DELETE", f"/v1/image-projects/{quote(provider_job_id, safe='')}")
        except http.CallFailed as error:
            raise Unavailable(str(error)) from error
        if answer.status not in (200, 204, 404):
            raise self.classify_error(answer.status, _json(answer), answer.headers)

    def parse_callback(self, event: Mapping[str, Any]) -> Callback | None:
        kind, payload = event.get("type"), event.get("payload")
        if not isinstance(kind, str) or not isinstance(payload, dict):
            return None
        family, _, verb = kind.partition(".")
        if family not in ("image", "video", "audio") or verb not in ("started", "completed", "errored"):
            return None
        named = payload.get("id")
        if not isinstance(named, str) or not named.isprintable():
            return None
        tokens = _TOKEN.findall(str(payload.get("name") or ""))
        return Callback(named, tokens[-1] if tokens else None)

    def classify_error(self, status: int, body: Mapping[str, Any], headers: Mapping[str, str]) -> ProviderError:
        """400 and 422 are about the order; 401, 402 and 403 about our account; 429 and 5xx pass."""
        message = f"{status}: {str(body.get('message') or '')[:200]}"
        if status in (401, 402, 403):
            return Misconfigured(message, status=status)
        if status == 429 or status >= 500:
            return Unavailable(message, status=status, retry_after_s=http.retry_after_s(headers))
        if _MODERATION.search(message):
            return Rejected(message, code="moderated", status=status)
        return Rejected(message, status=status)

    def _name(self, order: Order) -> str:
        """The customer's own name for it, then our token: a callback is matched by the last token in it."""
        label = str(order.params.get("name") or "").strip()[:_NAME_MAX]
        return f"{label} {order.token}".strip()

    def _upload(self, photo: Input) -> str:
        """Raises: ProviderError."""
        content = photo.read()
        try:
            item = {"type": "image", "extension": _EXTENSIONS[photo.content_type]}
            answer = self._call("POST", "/v1/files/upload-urls", json={"items": [item]})
            said = _json(answer)
            if answer.status != 200:
                raise self.classify_error(answer.status, said, answer.headers)
            try:
                place = said["items"][0]
                upload_url, file_path = str(place["upload_url"]), str(place["file_path"])
            except (KeyError, IndexError, TypeError) as error:
                raise Unavailable("the upload address is missing from the answer") from error
            if not upload_url.startswith("https://") and http.origin(upload_url) != http.origin(self.base_url):
                raise Unavailable("the upload address is neither https nor the provider's own")
            put = http.call(
                "PUT",
                upload_url,
                data=content,
                headers={"Content-Type": photo.content_type},
                timeout_s=settings.MAGIC_HOUR_TIMEOUT_S,
            )
            if put.status >= 300:
                raise Unavailable(f"the upload was answered {put.status}", status=put.status)
        except http.CallFailed as error:
            raise Unavailable(str(error)) from error
        return file_path

    def _call(self, method: str, path: str, *, json: Any = None) -> http.Answer:
        return http.call(
            method,
            self.base_url + path,
            json=json,
            headers={"Authorization": f"Bearer {settings.MAGIC_HOUR_API_KEY}"},
            timeout_s=settings.MAGIC_HOUR_TIMEOUT_S,
        )


def _json(answer: http.Answer) -> dict[str, Any]:
    try:
        said = answer.json()
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _cost(said: Mapping[str, Any]) -> Decimal | None:
    try:
        return Decimal(str(said["credits_charged"]))
    except (KeyError, InvalidOperation):
        return None


def _failure(error: Any) -> Rejected:
    said = error if isinstance(error, dict) else {}
    code, message = str(said.get("code") or "unknown_error"), str(said.get("message") or "")
    if _MODERATION.search(f"{code} {message}"):
        return Rejected(f"{code}: {message}", code="moderated")
    return Rejected(f"{code}: {message}", code=_FAILURES.get(code, "provider_failed"))


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """The provider's signature: hex HMAC-SHA256 over `<timestamp>.<raw body>`."""
    return hmac.digest(secret.encode(), timestamp.encode() + b"." + body, "sha256").hex()


def verify_webhook(headers: Mapping[str, str], body: bytes, *, now: int) -> Verdict:
    """Whether the provider signed this body, and lately: 300 s either side.

    Units: `now` in seconds since 1970.
    """
    secret = settings.MAGIC_HOUR_WEBHOOK_SECRET
    if not secret:
        return Verdict.NOT_CONFIGURED
    found = {name.lower(): value for name, value in headers.items()}
    stamp = found.get("magic-hour-event-timestamp", "")
    claimed = found.get("magic-hour-event-signature", "")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 12):
        return Verdict.INVALID
    if not hmac.compare_digest(signature(secret, stamp, body).encode(), claimed.encode()):
        return Verdict.INVALID
    return Verdict.VALID if abs(now - int(stamp)) <= TOLERANCE_S else Verdict.STALE

"""KIE: Runway films of 5 or 10 seconds. HTTP says 200 whatever happened: the verdict is the body's `code`. It knows no
idempotency key and lists no tasks; only the callback's address comes back to us, and carries our token.

Source: the vendor's Runway, common API, file upload and webhook pages
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import orjson
import structlog
import urllib3
from django.conf import settings
from django.core.signing import BadSignature, Signer

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
    Treatment,
    Unavailable,
    Unknown,
)
from inbox.deliveries import ECHO, Verdict

log = structlog.get_logger("kie")

TOLERANCE_S = 300
_UPLOAD_PATH = "atelier"
_EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png"}
_STATES = {"success": "succeeded", "fail": "failed"}
_PROGRESS = {"wait": 5, "queueing": 10, "generating": 50}
_MODERATION = re.compile(r"moderat|nsfw|safety|sensitive|policy|inappropriate|prohibited|blocked", re.I)
_PICTURE = re.compile(r"image|picture|photo", re.I)
_CROWDED = re.compile(r"concurren|too many|queue", re.I)


class Kie(Provider):
    code = "kie"
    cost_unit = "KIE credits"

    @property
    def base_url(self) -> str:
        return str(settings.KIE_BASE_URL)

    @property
    def resolve_window_s(self) -> float:
        return float(settings.KIE_RESOLVE_S)

    @property
    def is_configured(self) -> bool:
        return bool(settings.KIE_API_KEY)

    def treatment(self, order: Order) -> Treatment:
        """It makes 5 or 10 seconds: what is sold as 8 is cut."""
        return Treatment(duration_s=8) if order.params.get("duration") == 8 else Treatment()

    def prepare(self, order: Order) -> Mapping[str, Any]:
        """Upload the first picture, which KIE wants to fetch. An upload costs nothing and may be repeated."""
        return {"image_url": self._upload(order.inputs[0])} if order.inputs else {}

    def submit(self, order: Order, prepared: Mapping[str, Any]) -> Submitted:
        params = order.params
        body: dict[str, Any] = {
            "prompt": params.get("optimized_prompt") or params.get("prompt", ""),
            "duration": 10 if params.get("duration") == 8 else 5,
            "quality": params.get("quality", "720p"),
            "waterMark": params.get("water_mark", ""),
            "callBackUrl": callback_url(order.token),
        }
        if prepared.get("image_url"):
            body["imageUrl"] = prepared["image_url"]  # whose shape the film has
        else:
            body["aspectRatio"] = params.get("aspect_ratio", "16:9")
        try:
            answer = self._call("POST", "/api/v1/runway/generate", json=body)
        except http.NotSent as error:
            raise Unavailable(str(error)) from error
        except http.NoAnswer as error:
            raise Unknown(str(error)) from error
        said, code = _envelope(answer)
        data = said.get("data")
        task_id = data.get("taskId") if isinstance(data, dict) else None
        if isinstance(task_id, str) and task_id:
            return Submitted(task_id, answer={"code": code, "taskId": task_id})
        if code < 300:
            raise Unknown(f"answered {code} without a task", status=code)
        raise self.classify_error(code, said, answer.headers)

    def poll(self, provider_job_id: str) -> Seen:
        try:
            answer = self._call("GET", f"/api/v1/runway/record-detail?taskId={quote(provider_job_id, safe='')}")
        except http.CallFailed as error:
            raise Unavailable(str(error)) from error
        said, code = _envelope(answer)
        if code == 404:
            return Seen("gone")
        data = said.get("data")
        if code != 200 or not isinstance(data, dict):
            refusal = self.classify_error(code, said, answer.headers)
            # A look is free: what would be a verdict on an order, or a doubt, is here only a look that failed.
            raise refusal if isinstance(refusal, Unavailable | Misconfigured) else Unavailable(refusal.message)
        kept = {name: data.get(name) for name in ("taskId", "state", "failCode", "failMsg", "expireFlag")}
        state = str(data.get("state"))
        if state == "success" and data.get("expireFlag") == 1:
            return Seen("gone", answer=kept)
        video = data.get("videoInfo")
        url = video.get("videoUrl") if isinstance(video, dict) else None
        return Seen(
            status=_STATES.get(state, "running"),  # type: ignore[arg-type]
            progress=_PROGRESS.get(state, 0),
            outputs=(url,) if state == "success" and isinstance(url, str) and url else (),
            error=_failure(data) if state == "fail" else None,
            answer=kept,
        )

    def cancel(self, provider_job_id: str) -> None:
        """Nothing: KIE can neither stop a task nor delete a film, which it drops by itself after 14 days."""
        log.info("kie_cannot_cancel", task=provider_job_id)

    def parse_callback(self, event: Mapping[str, Any]) -> Callback | None:
        task_id = _task_id(event)
        return None if task_id is None else Callback(task_id, _token(event.get(ECHO)))

    def classify_error(self, status: int, body: Mapping[str, Any], headers: Mapping[str, str]) -> ProviderError:
        """The error that a `code` means; `status` is that code, or HTTP's where there is none."""
        said = str(body.get("msg") or "")[:200]
        message = f"{status}: {said}"
        match status:
            case 401 | 402 | 403:
                return Misconfigured(message, status=status)
            case 408:  # what is behind KIE has been silent: it may be at work all the same
                return Unknown(message, status=status)
            case 451:
                return Rejected(message, code="photo_refused", status=status)
            case 501:
                return Rejected(message, code="provider_failed", status=status)
            case 505:
                return Rejected(message, code="provider_unavailable", status=status)
            case 429 | 455:
                return Unavailable(message, status=status, retry_after_s=http.retry_after_s(headers))
            case 400 if _CROWDED.search(said):
                return Unavailable(message, status=status)
        if status >= 500 or status < 400:
            return Unavailable(message, status=status)
        return Rejected(message, code=_verdict(said, otherwise="provider_rejected"), status=status)

    def _upload(self, photo: Input) -> str:
        """Raises: ProviderError."""
        content = photo.read()
        # A name that nobody can guess: what is uploaded lies open on the web for a day or three.
        name = f"{secrets.token_hex(16)}.{_EXTENSIONS[photo.content_type]}"
        fields: dict[str, Any] = {
            "uploadPath": _UPLOAD_PATH,
            "fileName": name,
            "file": (name, content, photo.content_type),
        }
        body, content_type = urllib3.encode_multipart_formdata(fields)
        try:
            answer = http.call(
                "POST",
                f"{settings.KIE_UPLOAD_BASE_URL}/api/file-stream-upload",
                data=body,
                headers=self._headers() | {"Content-Type": content_type},
                timeout_s=settings.KIE_TIMEOUT_S,
            )
        except http.CallFailed as error:
            raise Unavailable(str(error)) from error
        said, code = _envelope(answer)
        if code != 200:
            refusal = self.classify_error(code, said, answer.headers)
            # No task was started, whatever the answer was.
            raise Unavailable(refusal.message) if isinstance(refusal, Unknown) else refusal
        data = said.get("data")
        place = data if isinstance(data, dict) else {}
        url = place.get("downloadUrl") or place.get("fileUrl")
        if not isinstance(url, str) or not url:
            raise Unavailable("the upload's address is missing from the answer")
        return url

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {settings.KIE_API_KEY}"}

    def _call(self, method: str, path: str, *, json: Any = None) -> http.Answer:
        return http.call(
            method, self.base_url + path, json=json, headers=self._headers(), timeout_s=settings.KIE_TIMEOUT_S
        )


def _envelope(answer: http.Answer) -> tuple[dict[str, Any], int]:
    """The body and its code; HTTP's own status counts where there is no code, or where it says it went wrong."""
    try:
        said = answer.json()
    except ValueError:
        said = None
    said = said if isinstance(said, dict) else {}
    code = said.get("code")
    if isinstance(code, bool) or not isinstance(code, int) or (answer.status >= 400 and code == 200):
        return said, answer.status
    return said, code


def _failure(data: Mapping[str, Any]) -> Rejected:
    """Why a task ended without a film."""
    code, message = data.get("failCode"), str(data.get("failMsg") or "")[:200]
    found = "photo_refused" if code == 451 else _verdict(message, otherwise="provider_failed")
    return Rejected(f"{code}: {message}", code=found)


def _verdict(message: str, *, otherwise: str) -> str:
    if _MODERATION.search(message):
        return "moderated"
    return "photo_refused" if _PICTURE.search(message) else otherwise


def _signer() -> Signer:
    return Signer(salt="generation.kie.callback")


def callback_url(token: str) -> str:
    """Where KIE is to call back: our token rides along, signed, since only it says that the caller is KIE."""
    return f"{settings.PUBLIC_URL}/api/v1/webhooks/kie?token={quote(_signer().sign(token))}"


def _token(signed: Any) -> str | None:
    """The token in a callback's address, if we signed it."""
    try:
        return _signer().unsign(str(signed or ""))
    except BadSignature:
        return None


def _task_id(event: Mapping[str, Any]) -> str | None:
    """Runway writes `task_id`, other models of KIE `taskId`."""
    data = event.get("data")
    named = (data.get("task_id") or data.get("taskId")) if isinstance(data, dict) else None
    return named if isinstance(named, str) and named.isprintable() else None


def signature(secret: str, task_id: str, timestamp: str) -> str:
    """The provider's signature: base64 of HMAC-SHA256 over `<task id>.<timestamp>`. The body is not signed."""
    return base64.b64encode(hmac.digest(secret.encode(), f"{task_id}.{timestamp}".encode(), "sha256")).decode()


def verify_webhook(headers: Mapping[str, str], body: bytes, *, now: int) -> Verdict:
    """Whether KIE calls: by its signature where a key was made in its console, else by our own token in the address.

    Units: `now` in seconds since 1970.
    """
    found = {name.lower(): value for name, value in headers.items()}
    secret = settings.KIE_WEBHOOK_SECRET
    if not secret:
        if not settings.KIE_API_KEY:
            return Verdict.NOT_CONFIGURED
        return Verdict.VALID if _token(found.get(ECHO)) else Verdict.INVALID
    stamp, claimed = found.get("x-webhook-timestamp", ""), found.get("x-webhook-signature", "")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 12):
        return Verdict.INVALID
    try:
        event = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Verdict.INVALID
    task_id = _task_id(event) if isinstance(event, dict) else None
    if task_id is None or not hmac.compare_digest(signature(secret, task_id, stamp).encode(), claimed.encode()):
        return Verdict.INVALID
    return Verdict.VALID if abs(now - int(stamp)) <= TOLERANCE_S else Verdict.STALE

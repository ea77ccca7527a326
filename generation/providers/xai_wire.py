"""xAI over HTTP: one call, two shapes of errors, a bill in ticks. A wrong key is 400 there, and so is moderation.

Source: the vendor's REST reference, its SDK and protocol files
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django.conf import settings

from core import http
from generation.providers.base import Misconfigured, ProviderError, Rejected, Unavailable, Unknown

COST_UNIT = "USD"
TICKS = Decimal(10**10)  # to the dollar
MODERATION = re.compile(r"moderation|content.?policy|safety", re.I)
# No single word: an error may quote what a customer wrote.
_OUR_ACCOUNT = re.compile(r"(incorrect|invalid|missing) api.?key|zero data retention|output\.upload_url", re.I)


def send(path: str, body: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any]:
    """Ask for something that costs. The answer is a JSON object, of whatever shape.

    Raises: Unavailable, Rejected, Misconfigured, Unknown.
    """
    try:
        answer = call("POST", path, json=body, timeout_s=timeout_s)
    except http.NotSent as error:
        raise Unavailable(str(error)) from error
    except http.NoAnswer as error:
        raise Unknown(str(error)) from error
    said = read(answer)
    if answer.status >= 300:
        raise error_of(answer.status, said, answer.headers)
    if not said:
        raise Unknown(f"{path} answered {answer.status} with no JSON object", status=answer.status)
    return said


def call(method: str, path: str, *, json: Any = None, timeout_s: float) -> http.Answer:
    """Raises: http.CallFailed."""
    headers = {"Authorization": f"Bearer {settings.XAI_API_KEY}"}
    return http.call(method, f"{settings.XAI_BASE_URL}{path}", json=json, headers=headers, timeout_s=timeout_s)


def read(answer: http.Answer) -> dict[str, Any]:
    """The body, empty where it is no JSON object: a pending film may have none."""
    try:
        said = answer.json()
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def error_of(status: int, body: Mapping[str, Any], headers: Mapping[str, str]) -> ProviderError:
    """400 can be about the key, the order or what it shows; 401, 402, 403 and 404 (the model) are ours to mend."""
    error = body.get("error")
    said = error.get("message") if isinstance(error, dict) else error
    message = f"{status}: {str(said or '')[:200]}"
    if status in (401, 402, 403, 404) or _OUR_ACCOUNT.search(message):
        return Misconfigured(message, status=status)
    if status == 429 or status >= 500:
        return Unavailable(message, status=status, retry_after_s=http.retry_after_s(headers))
    code = "moderated" if MODERATION.search(message) else "provider_rejected"
    return Rejected(message, code=code, status=status, cost=cost_of(body))


def cost_of(said: Mapping[str, Any]) -> Decimal | None:
    """What it cost us, where it says so. Units: US dollars."""
    usage = said.get("usage")
    ticks = usage.get("cost_in_usd_ticks") if isinstance(usage, dict) else None
    return Decimal(ticks) / TICKS if isinstance(ticks, int) else None

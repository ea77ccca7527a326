"""Chat completions: an answer made from what was said, in the shape that was asked for."""

from __future__ import annotations

import json
import time
from typing import Any

from sandbox import magic
from sandbox.box import Box
from sandbox.state import Doc
from sandbox.tokens import new_id
from sandbox.xai import account, answers, models
from sandbox.xai.errors import XaiError

KIND = "xai.chat"
KEPT = 500
# Ticks a token, in and out.
PRICES = (2_000, 10_000)
EFFORTS = ("none", "low", "medium", "high", "xhigh")


def create(box: Box, body: dict[str, Any]) -> Doc:
    """Answer at once. Raises: XaiError."""
    model = models.check(body.get("model"), "chat")
    said = _said(body.get("messages"))
    if body.get("stream"):
        raise XaiError(400, "The sandbox does not stream")
    if body.get("search_parameters") is not None:
        raise XaiError(410, "Live search is deprecated")
    if body.get("reasoning_effort") not in (None, *EFFORTS):
        raise XaiError(400, f"reasoning_effort must be one of {', '.join(EFFORTS)}")
    words = magic.texts(said)
    refused = "moderated" in words or "withheld" in words or "blocked" in words
    content = None if refused else _content(body.get("response_format"), said, words)
    cut_off = "corrupt" in words and content is not None
    if cut_off and content is not None:
        content = content[: len(content) * 3 // 5]
    spent_in, spent_out = len(json.dumps(body["messages"])) // 4 + 1, len(content or "") // 4 + 1
    cost = spent_in * PRICES[0] + spent_out * PRICES[1]
    answer: Doc = {
        "id": new_id("chatcmpl-", 24),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": content,
                    "refusal": "I cannot help with that." if refused else None,
                },
                "finish_reason": "content_filter" if refused else "length" if cut_off else "stop",
            }
        ],
        "usage": {
            "prompt_tokens": spent_in,
            "completion_tokens": spent_out,
            "total_tokens": spent_in + spent_out,
            "cost_in_usd_ticks": cost,
        },
    }
    with box.store.transaction():
        account.spend(box, cost)
        box.store.put(KIND, answer["id"], {"answer": answer, "said": said, "created_at": answer["created"]})
        box.store.trim(KIND, KEPT)
    return answer


def said_in(body: dict[str, Any]) -> str:
    """What the person said, as far as it can be told before anything is checked."""
    try:
        return _said(body.get("messages"))
    except XaiError:
        return ""


def _said(messages: Any) -> str:
    if not isinstance(messages, list) or not messages:
        raise XaiError(422, "messages: expected a list of at least one message")
    texts = []
    for at, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in ("system", "user", "assistant", "tool"):
            raise XaiError(422, f"messages[{at}].role: unknown variant")
        content = message.get("content")
        parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
        if message["role"] == "user":
            texts += [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]
    if not texts:
        raise XaiError(400, "messages: there is no text of a user")
    return "\n".join(texts)


def _content(wanted: Any, said: str, words: frozenset[str]) -> str:
    """Raises: XaiError for a schema that cannot be honoured."""
    kind = wanted.get("type") if isinstance(wanted, dict) else "text"
    if "wrongtype" in words or kind == "text":
        return answers.sentence(said)
    if kind == "json_object":
        return json.dumps({"answer": answers.sentence(said)}, ensure_ascii=False)
    if kind != "json_schema":
        raise XaiError(400, f"response_format.type: unknown variant {kind!r}")
    given = wanted.get("json_schema")
    if (
        not isinstance(given, dict)
        or not isinstance(given.get("name"), str)
        or not isinstance(given.get("schema"), dict)
    ):
        raise XaiError(400, "response_format.json_schema: name and schema are required")
    try:
        return json.dumps(answers.answer(given["schema"], said), ensure_ascii=False)
    except answers.Unanswerable as error:
        raise XaiError(400, f"Invalid schema for response_format: {error}") from error

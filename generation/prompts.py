"""Our own rewording of prompts. What the customer typed stays in the job's parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from generation.models import Kind

# What each trigger of a film made to be listened to looks and sounds like.
TRIGGERS = {
    "soap": "soap being cut slowly into crisp curls",
    "sponge": "a soft sponge being squeezed",
    "ice": "ice cracking and clinking",
    "water": "water dripping and trickling",
    "honey": "honey pouring in a thick slow stream",
    "cubes": "small cubes being sliced and falling apart",
    "petals": "dry petals being brushed and crumpled",
    "pages": "pages of a book being turned",
}
_PREFIX = "ASMR video:"
_SUFFIX = "Extreme close-up, soft light, slow and smooth movement, clear and soothing sound."


def reworded(params: Mapping[str, Any], *, max_length: int) -> dict[str, Any]:
    """What a job's `data` says of its prompt from the beginning: with triggers, that of a film to listen to.

    Where it would be too long, first the closing words and then the triggers' descriptions are left out.
    """
    triggers, prompt = params.get("triggers"), params.get("prompt")
    if not triggers or not prompt:
        return {}
    plain = prompt.strip()
    names = f"{_PREFIX} {plain}, featuring {', '.join(triggers)}."
    described = f"{_PREFIX} {plain}, featuring {', '.join(TRIGGERS.get(name, name) for name in triggers)}."
    for text in (f"{described} {_SUFFIX}", described, names):
        if len(text) <= max_length:
            return {"optimized_prompt": text}
    return {}


def dressed(kind: str, params: Mapping[str, Any], wearing: str) -> dict[str, Any]:
    """The parameters whose prompts, the better wording too, say what is worn. Idempotent."""
    said = dict(params)
    if not wearing:
        return said
    own = "style_prompt" if kind == Kind.HEADSHOT else "prompt"
    for name in (own, *(["optimized_prompt"] if said.get("optimized_prompt") else [])):
        text = said.get(name) or ""
        if wearing not in text:
            said[name] = f"{text.rstrip()} {wearing}".strip()
    return said

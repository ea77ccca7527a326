"""xAI's avatars: the profile by the chat model, then the face by the image model, in one order."""

from __future__ import annotations

import time
from dataclasses import replace
from decimal import Decimal
from typing import Protocol

from django.conf import settings

from generation import profiles
from generation.providers import xai_chat
from generation.providers.base import Order, ProviderError, Rejected, Submitted


class Paint(Protocol):
    """How pictures are made of an order."""

    def __call__(self, order: Order, *, timeout_s: float) -> Submitted: ...


def make(order: Order, paint: Paint) -> Submitted:
    """The whole avatar. Both calls together take no longer than one may. What the profile cost is told even when there
    is no face then.

    Raises: Unavailable, Rejected, Misconfigured, Unknown.
    """
    began, time_s = time.monotonic(), settings.XAI_SYNC_TIMEOUT_S
    answer, spent = xai_chat.chat_json(
        settings.XAI_CHAT_MODEL,
        profiles.INSTRUCTION,
        profiles.request_for(order.params),
        profiles.SCHEMA,
        timeout_s=time_s / 2,
    )
    try:
        profile = profiles.checked(answer)
    except profiles.OfAMinor as error:
        raise Rejected(str(error), code="moderated", cost=spent) from error
    except profiles.Unusable as error:
        raise Rejected(str(error), code="bad_output", cost=spent) from error
    try:
        face = replace(order, params={"prompt": profiles.portrait_of(profile)})
        made = paint(face, timeout_s=time_s - (time.monotonic() - began))
    except ProviderError as error:
        error.cost = _sum(spent, error.cost)
        raise
    return replace(made, cost=_sum(spent, made.cost), data={"profile": profile})


def _sum(*costs: Decimal | None) -> Decimal | None:
    told = [cost for cost in costs if cost is not None]
    return sum(told, Decimal()) if told else None

"""A provider that does what a test has written down. What it makes is in data: URLs."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from generation import providers
from generation.models import Operation
from generation.providers.base import Callback, Order, Provider, ProviderError, Seen, Submitted, Treatment, Unavailable
from tests.generation.material import jpeg


def data_url(picture: bytes | None = None) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(picture or jpeg()).decode()}"


def made(*pictures: str, cost: str = "0.02", **data: Any) -> Submitted:
    """A synchronous answer."""
    return Submitted(None, Decimal(cost), {"ok": True}, outputs=pictures or (data_url(),), data=data)


@dataclass
class Play:
    """What happens, and what was asked. An answer to a submit may be an error to raise; the last one is repeated."""

    queue: str = "providers_sync"
    answers: list[Submitted | ProviderError | Callable[[Order], Submitted]] = field(default_factory=lambda: [made()])
    looks: dict[str, Seen] = field(default_factory=dict)
    stages: int = 1
    treatment: Treatment = field(default_factory=Treatment)
    prepared: dict[str, Any] = field(default_factory=dict)
    orders: list[Order] = field(default_factory=list)
    prepares: list[Order] = field(default_factory=list)


PLAY = Play()


class Scripted(Provider):
    code = "scripted"
    cost_unit = "USD"
    base_url = "http://127.0.0.1:9"
    resolve_window_s = 0.0
    is_configured = True

    def prepare(self, order: Order) -> Mapping[str, Any]:
        PLAY.prepares.append(order)
        return {} if "optimized_prompt" in order.params else PLAY.prepared

    def submit(self, order: Order, prepared: Mapping[str, Any]) -> Submitted:
        answer = PLAY.answers[min(len(PLAY.orders), len(PLAY.answers) - 1)]
        PLAY.orders.append(order)
        if isinstance(answer, ProviderError):
            raise answer
        return answer if isinstance(answer, Submitted) else answer(order)

    def poll(self, provider_job_id: str) -> Seen:
        return PLAY.looks.get(provider_job_id, Seen("running", progress=50))

    def cancel(self, provider_job_id: str) -> None:
        PLAY.looks[provider_job_id] = Seen("gone")

    def parse_callback(self, event: Mapping[str, Any]) -> Callback | None:
        return Callback(event["id"], event.get("token"))

    def classify_error(self, status: int, body: Mapping[str, Any], headers: Mapping[str, str]) -> ProviderError:
        return Unavailable(str(status), status=status)

    def queue(self, kind: str) -> str:
        return PLAY.queue

    def stages(self, order: Order) -> int:
        return PLAY.stages

    def treatment(self, order: Order) -> Treatment:
        return PLAY.treatment


def install(monkeypatch: Any) -> Play:
    """Let the scripted provider make everything that is sold, by a new play."""
    monkeypatch.setitem(providers.REGISTRY, "scripted", "tests.generation.scripted.Scripted")
    Operation.objects.exclude(kind="headshot").update(provider="scripted")
    PLAY.__dict__.update(Play().__dict__)
    return PLAY

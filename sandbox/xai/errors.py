"""xAI's two error bodies: OpenAI's for chat and models, a flat one for everything else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

INVALID = "Client specified an invalid argument"
FORBIDDEN = "The caller does not have permission to execute the specified operation"
EXHAUSTED = "Some resource has been exhausted"
INTERNAL = "The service failed"


@dataclass
class XaiError(Exception):
    status: int
    message: str
    code: str = INVALID
    headers: dict[str, str] = field(default_factory=dict)
    cost: int | None = None  # ticks; a blocked order is billed all the same

    def body(self, *, like_openai: bool) -> dict[str, Any]:
        if like_openai:
            kind = "invalid_request_error" if self.status < 500 else "server_error"
            return {"error": {"message": self.message, "type": kind, "param": None, "code": self.code}}
        body: dict[str, Any] = {"code": self.code, "error": self.message}
        return body if self.cost is None else body | {"usage": {"cost_in_usd_ticks": self.cost}}

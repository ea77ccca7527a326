"""Razorpay's error body, and what refuses a request before any rule is looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class RazorpayError(Exception):
    description: str
    field_name: str | None = None
    reason: str = "input_validation_failed"
    source: str = "business"
    step: str = "payment_initiation"
    code: str = "BAD_REQUEST_ERROR"
    status: int = 400
    metadata: dict[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        error: dict[str, Any] = {
            "code": self.code,
            "description": self.description,
            "source": self.source,
            "step": self.step,
            "reason": self.reason,
            "metadata": self.metadata,
        }
        if self.field_name:
            error["field"] = self.field_name
        return {"error": error}


def unknown_id() -> RazorpayError:
    return RazorpayError("The id provided does not exist", source="NA", step="NA", reason="NA")

"""Stripe's error envelope."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class StripeError(Exception):
    """`more` are further keys of the error, such as the payment intent that a card error is about."""

    message: str
    param: str | None = None
    code: str | None = None
    type: str = "invalid_request_error"
    status: int = 400
    more: dict[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        error: dict[str, Any] = {"message": self.message, "type": self.type}
        error |= {name: value for name, value in (("code", self.code), ("param", self.param)) if value}
        return {"error": error | self.more}


def missing(param: str) -> StripeError:
    return StripeError(f"Missing required param: {param}.", param, "parameter_missing")


def unknown_id(kind: str, id: str, param: str = "id", status: int = 404) -> StripeError:
    return StripeError(f"No such {kind}: '{id}'", param, "resource_missing", status=status)


def card_error(code: str, message: str, decline_code: str | None, **more: Any) -> StripeError:
    told = {"decline_code": decline_code} if decline_code else {}
    return StripeError(message, code=code, type="card_error", status=402, more=told | more)

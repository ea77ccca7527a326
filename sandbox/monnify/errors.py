"""Monnify's envelope, good and bad."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class MonnifyError(Exception):
    message: str
    code: str = "99"
    status: int = 422

    def body(self) -> dict[str, Any]:
        return {"requestSuccessful": False, "responseMessage": self.message, "responseCode": self.code}


def success(body: Any) -> dict[str, Any]:
    return {"requestSuccessful": True, "responseMessage": "success", "responseCode": "0", "responseBody": body}

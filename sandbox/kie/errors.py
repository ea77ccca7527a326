"""KIE's errors: HTTP 200, and the verdict in the body's `code`."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class KieError(Exception):
    code: int
    message: str
    headers: dict[str, str] = field(default_factory=dict)

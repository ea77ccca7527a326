"""Magic Hour's error body: one message, no machine code."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class MagicHourError(Exception):
    status: int
    message: str
    headers: dict[str, str] = field(default_factory=dict)

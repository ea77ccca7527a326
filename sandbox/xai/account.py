"""The team's balance. Units: ticks, 10,000,000,000 to the dollar."""

from __future__ import annotations

from sandbox.box import Box
from sandbox.xai.errors import FORBIDDEN, XaiError

USD = 10_000_000_000
FIRST = 10_000 * USD


def balance(box: Box) -> int:
    return int((box.store.get("xai.account", "account") or {"ticks": FIRST})["ticks"])


def set_balance(box: Box, ticks: int) -> None:
    box.store.put("xai.account", "account", {"ticks": ticks})


def check(box: Box) -> None:
    """Raises: XaiError when nothing is left."""
    if balance(box) <= 0:
        raise XaiError(403, "Your team has used all available credits or reached its spending limit.", FORBIDDEN)


def spend(box: Box, ticks: int) -> None:
    set_balance(box, balance(box) - ticks)

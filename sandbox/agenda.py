"""Timed actions: what happens at the providers later, kept in the state so that a restart loses none."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from sandbox.state import Store

logger = logging.getLogger("sandbox")

Action = Callable[..., Awaitable[None]]


class Agenda:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.actions: dict[str, Action] = {}
        self.running: dict[int, asyncio.Task[None]] = {}
        self.changed = asyncio.Event()
        self.offset_s = float((store.get("clock", "offset") or {}).get("seconds", 0))

    def now(self) -> float:
        """The sandbox's clock: real time plus what `advance` added. Only due times and expiries live by it;
        times shown in bodies are real, else a caller's own time windows would miss them."""
        return time.time() + self.offset_s

    def advance(self, seconds: float) -> None:
        self.offset_s += seconds
        self.store.put("clock", "offset", {"seconds": self.offset_s})
        self.changed.set()

    def after(self, delay_s: float, action: str, *args: Any) -> None:
        """Run `action` later. It is run again after a crash in its middle: actions are safe to run twice."""
        if action not in self.actions:
            raise KeyError(action)
        self.store.connection.execute(
            "INSERT INTO agenda (due_at, action, args) VALUES (?, ?, ?)",
            (self.now() + delay_s, action, json.dumps(args)),
        )
        self.changed.set()

    async def run(self) -> None:
        """Start what is due, then sleep until the next is."""
        try:
            while True:
                self.changed.clear()
                wait_s = self._start_due()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.changed.wait(), wait_s)
        finally:
            for task in self.running.values():
                task.cancel()
            await asyncio.gather(*self.running.values(), return_exceptions=True)

    def _start_due(self) -> float | None:
        now = self.now()
        due = self.store.connection.execute(
            "SELECT seq, action, args FROM agenda WHERE due_at <= ? ORDER BY due_at, seq", (now,)
        ).fetchall()
        for seq, action, args in due:
            if seq not in self.running:
                self.running[seq] = asyncio.create_task(self._perform(seq, action, json.loads(args)))
        (next_at,) = self.store.connection.execute("SELECT min(due_at) FROM agenda WHERE due_at > ?", (now,)).fetchone()
        return None if next_at is None else max(0.0, float(next_at) - self.now())

    async def _perform(self, seq: int, action: str, args: list[Any]) -> None:
        try:
            await self.actions[action](*args)
        except asyncio.CancelledError:
            raise
        except Exception:
            logger.exception("action %s%s failed", action, tuple(args))
        self.store.connection.execute("DELETE FROM agenda WHERE seq = ?", (seq,))
        self.running.pop(seq, None)

    async def drop(self) -> None:
        """Stop what runs and set the clock right; used when the state is wiped under it."""
        self.offset_s = 0.0
        tasks = list(self.running.values())
        self.running.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.changed.set()

"""The parts that every simulated provider needs, in one object that travels as `request.app.state.box`."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from starlette.requests import Request

from sandbox.agenda import Agenda
from sandbox.settings import Settings
from sandbox.state import Doc, Store
from sandbox.webhooks import Webhooks

# The times and figures that `POST /control/settings` may change while the sandbox runs.
TUNABLE = ("speed_s", "slow_s", "late_s", "pending_s")


@dataclass
class Box:
    settings: Settings
    store: Store
    agenda: Agenda
    webhooks: Webhooks
    # One picture at a time: rendering is the only thing here that takes real memory.
    renderer: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "render"))
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    requests: list[Doc] = field(default_factory=list)

    @classmethod
    def open(cls, settings: Settings) -> Box:
        for folder in ("uploads", "outputs"):
            (settings.directory / folder).mkdir(parents=True, exist_ok=True)
        store = Store(settings.directory / "sandbox.sqlite3")
        agenda = Agenda(store)
        return cls(settings, store, agenda, Webhooks(settings, store, agenda))

    def tuned(self, name: str) -> float:
        tuned = self.store.get("tuning", "tuning") or {}
        return float(tuned.get(name, getattr(self.settings, name)))

    def tune(self, values: dict[str, float]) -> None:
        self.store.put("tuning", "tuning", (self.store.get("tuning", "tuning") or {}) | values)

    @property
    def link_secret(self) -> str:
        """The key of the sandbox's own signed links; lives with the state, so links survive a restart."""
        stored = self.store.get("secret", "link")
        if stored is None:
            stored = {"value": secrets.token_hex(16)}
            self.store.put("secret", "link", stored)
        return str(stored["value"])

    def folder(self, name: str) -> Path:
        return self.settings.directory / name

    async def reset(self) -> None:
        """Forget everything: objects, mails, timed actions, faults, switches, files."""
        await self.agenda.drop()
        self.store.clear()
        self.requests.clear()
        for name in ("uploads", "outputs"):
            shutil.rmtree(self.folder(name), ignore_errors=True)
            self.folder(name).mkdir(parents=True)

    def close(self) -> None:
        self.renderer.shutdown(wait=False, cancel_futures=True)
        self.store.close()


def box_of(request: Request) -> Box:
    box = request.app.state.box
    assert isinstance(box, Box)
    return box

"""Short ways to the outbox."""

from __future__ import annotations

from typing import Any

from core.ids import new_id
from notifications import outbox
from notifications.models import Mail
from notifications.samples import SAMPLES


def letter(name: str = "welcome", *, to: str = "reader@example.com", cause: str | None = None, **context: Any) -> Mail:
    """Queue one mail."""
    mail = outbox.enqueue(name, to=to, cause=cause or f"test:{new_id()}", context=SAMPLES[name] | context)
    assert mail is not None
    return mail

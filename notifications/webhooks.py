"""The handler of settings.INBOX_HANDLERS["email"]."""

from __future__ import annotations

from typing import Any

from inbox.deliveries import LIST, Outcome
from notifications import sender, tracking


def handle(event: dict[str, Any], *, stale: bool) -> Outcome:
    """Carry each event of the body to its mail; one whose mail is not known yet has the whole body come again."""
    outcomes = {tracking.note(found) for found in sender.events(event.get(LIST, event))}
    for outcome in (Outcome.UNMATCHED, Outcome.PROCESSED):
        if outcome in outcomes:
            return outcome
    return Outcome.IGNORED

"""Passes over the jobs that this machine does itself: one at a time, in a folder that goes when it is not needed."""

from __future__ import annotations

from generation.engine.advance import advance
from generation.models import Attempt, State
from generation.photogrammetry import workshop


def work() -> int:
    """One pass. While another process or thread of this machine works, only what is made already is stored.

    Idempotent: as `advance`.
    """
    with workshop.turn() as is_ours:
        if not is_ours:
            return advance("bulk", sends=0)
        workshop.tidy(_wanted)
        try:
            return advance("bulk", sends=1)
        finally:
            workshop.tidy(_wanted)


def _wanted(tokens: list[str]) -> set[str]:
    """Whose results are still to be stored: with the turn ours, nobody works in any other folder."""
    storing = Attempt.objects.filter(token__in=tokens, generation__state=State.STORING)
    return set(storing.values_list("token", flat=True))

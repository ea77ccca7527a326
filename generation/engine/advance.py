"""One pass of the engine over everything of a queue that is due. Any number of workers may make passes at once."""

from __future__ import annotations

from core import jobs
from generation.engine import discard, doubts, moves, poll, scripts, store, submit
from generation.models import State

# Sends and stores move megabytes, so a pass takes as many as it has threads; looks are one small call each.
SENDS = STORES = scripts.THREADS
LOOKS = 2000
DISCARDS = 16


def advance(queue: str = "providers", *, sends: int = SENDS) -> int:
    """Claim what is due in the queue, a lease each, and move it on. Returns how many jobs were touched.

    What is to be discarded is in no queue: it goes with `providers`.
    Idempotent: leases, states and the database's clock decide.
    Enqueues: itself, when there was more than one pass could take.
    """
    doubts.settle(queue)
    send_token, to_send = moves.claim(State.QUEUED, sends, queue)
    to_look = poll.claim(LOOKS, queue)
    store_token, to_store = moves.claim(State.STORING, STORES, queue)
    to_discard = discard.claim(DISCARDS) if queue == "providers" else []
    scripts.run(
        [
            *(submit.script(job, send_token) for job in to_send),
            *poll.scripts(to_look),
            *(store.script(job, store_token) for job in to_store),
            *(discard.script(attempt) for attempt in to_discard),
        ]
    )
    if len(to_send) == sends or len(to_look) == LOOKS or len(to_store) == STORES or len(to_discard) == DISCARDS:
        jobs.wake(moves.WAKES[queue])
    return len(to_send) + len(to_look) + len(to_store) + len(to_discard)

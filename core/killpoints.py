"""Named places between two effects where a test may kill the process, to prove that nothing is lost or doubled.

Armed by KILL_POINT, only when ENVIRONMENT=test. A test walks POINTS and dies at each.
"""

from __future__ import annotations

import os
import signal

from django.conf import settings

# name: what has happened | what has not
POINTS: dict[str, str] = {
    "idempotency.claimed": "the key row of a gateway call is committed | nothing else is",
    "inbox.stored": "a webhook is stored | it is not yet answered or handled",
    "inbox.handled": "a webhook's handler has run | the row does not say so yet",
    "notifications.claimed": "a mail is leased | nothing of it has left",
    "notifications.handed_over": "a mail is marked as handed over | the server has none of it",
    "notifications.accepted": "the mail server has taken a mail | the row does not say so yet",
}


def reach(name: str) -> None:
    """Die here by SIGKILL when armed for `name`; otherwise do nothing.

    Raises: KeyError for a name that is not in POINTS, when running tests.
    """
    if settings.ENVIRONMENT != "test":
        return
    POINTS[name]
    if name == settings.KILL_POINT:
        os.kill(os.getpid(), signal.SIGKILL)

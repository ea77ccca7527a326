from __future__ import annotations

from accounts import sessions, verification
from core import jobs


@jobs.task("accounts.purge")
def purge() -> None:
    sessions.purge()
    verification.purge()

from __future__ import annotations

from accounts import erasure, exports, links, resets, sessions
from core import jobs


@jobs.task("accounts.purge")
def purge() -> None:
    sessions.purge()
    exports.purge()
    links.purge()


@jobs.task("accounts.mail_resets", queue="mail")
def mail_resets() -> None:
    resets.mail_due()


@jobs.task("accounts.erase", queue="bulk")
def erase() -> None:
    erasure.advance_due()


@jobs.task("accounts.export", queue="bulk")
def export() -> None:
    exports.make_due()

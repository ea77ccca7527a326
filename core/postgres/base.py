"""Django's PostgreSQL backend, which finds out that a kept connection is alive without a round trip."""

from __future__ import annotations

import select

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    def is_usable(self) -> bool:
        """Whether the connection works.

        PostgreSQL (and PgBouncer) says why before it hangs up, so one on which nothing waits to be read still stands.
        Django asks `SELECT 1` at the start of every request: a quarter of the round trips of a plain read. It is still
        asked after an error, and where something waits.
        """
        if self.connection is None or self.connection.closed:
            return False
        if self.errors_occurred or _is_readable(self.connection.fileno()):
            return super().is_usable()
        return True


def _is_readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLERR | select.POLLHUP)
    return bool(poll.poll(0))

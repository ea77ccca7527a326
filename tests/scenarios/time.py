"""Time that passes faster than a test may wait: due times and leases move, deadlines do not."""

from __future__ import annotations

import time

from django.db import connection

DUE = (
    ("core_idempotencykey", "locked_until"),
    ("inbox_delivery", "next_at"),
    ("notifications_mail", "next_at"),
    ("notifications_mail", "lease_until"),
    ("accounts_erasure", "next_at"),
    ("billing_payment", "next_at"),
    ("billing_payment", "lease_until"),
    ("billing_refund", "next_at"),
    ("billing_refund", "lease_until"),
    ("store_order", "next_at"),
    ("generation_generation", "next_at"),
    ("generation_generation", "lease_until"),
    ("generation_attempt", "discard_at"),
)


def pass_time(seconds: int = 60) -> None:
    """Bring everything that waits for its time that much nearer, as if the clock had run on."""
    with connection.cursor() as cursor:
        for table, column in DUE:
            cursor.execute(
                f"UPDATE {table} SET {column} = {column} - make_interval(secs => %s)"
                f" WHERE {column} > statement_timestamp()",
                [seconds],
            )


class Hurry:
    """Lets a minute pass whenever it is called, but no more than once a second, and then ever more slowly.

    Leases come nearer too: on a busy machine work that takes longer than a second must not be taken over for ever.
    """

    def __init__(self) -> None:
        self.last = 0.0
        self.pause_s = 1.0

    def __call__(self) -> None:
        if time.monotonic() - self.last > self.pause_s:
            self.last, self.pause_s = time.monotonic(), self.pause_s * 1.5
            pass_time(60)

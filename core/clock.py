"""The database's clock: the only one that decides across processes, since every machine has its own idea of now."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from django.db import connection

from core import context


def now() -> datetime:
    """The moment the database thinks it is: asked once a request, then carried on by this process's stopwatch."""
    reading = context.current().clock
    if reading is None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT statement_timestamp()")
            reading = note(cursor.fetchone()[0])
    moment, at_s = reading
    return moment + timedelta(seconds=time.monotonic() - at_s)


def note(moment: datetime) -> tuple[datetime, float]:
    """Remember for the running request what the database's clock has just shown."""
    reading = (moment, time.monotonic())
    context.set_clock(reading)
    return reading

"""Counters of what came into which state: triggers add a `Tally` for each time, and beat has them added up."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import connection
from prometheus_client.core import CounterMetricFamily, Metric

# Rows are only ever added, so nobody waits for a lock here; whoever reads meanwhile sees either all of them or the sum.
_FOLD = """
WITH several AS (
    SELECT name, labels FROM core_tally GROUP BY name, labels HAVING count(*) > 1
), taken AS (
    DELETE FROM core_tally t USING several s WHERE t.name = s.name AND t.labels = s.labels
    RETURNING t.name, t.labels, t.n
)
INSERT INTO core_tally (name, labels, n) SELECT name, labels, sum(n) FROM taken GROUP BY name, labels
"""


def fold() -> None:
    """Put one row with the sum in the place of many.

    Idempotent: the sums stay. Two at once fold each row once.
    """
    with connection.cursor() as cursor:
        cursor.execute(_FOLD)


def family(name: str, documentation: str, labels: list[str]) -> Iterator[Metric]:
    """The metric `<name>_total`."""
    found = CounterMetricFamily(name, documentation, labels=labels)
    with connection.cursor() as cursor:
        cursor.execute("SELECT labels, sum(n) FROM core_tally WHERE name = %s GROUP BY 1 ORDER BY 1", [name])
        for values, n in cursor.fetchall():
            found.add_metric(values, float(n))
    yield found

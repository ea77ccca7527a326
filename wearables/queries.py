"""Reading the catalogue: searched, filtered, counted by facet, in a bounded number of queries."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from django.core.exceptions import EmptyResultSet
from django.db import connection, transaction
from django.db.models import (
    BooleanField,
    Case,
    Count,
    F,
    FloatField,
    Func,
    IntegerField,
    QuerySet,
    TextField,
    Value,
    When,
)
from django.db.models.expressions import Combinable

from core import public
from core.errors import NotFound
from wearables.models import Customization, Selection, Wearable

FACETS = ("category", "style", "color", "material", "season", "occasion", "size", "fit", "has_image", "tags")
MAX_VALUES = 50  # of a facet, the most frequent first
MAX_CATEGORIES = 1000
MAX_WORDS = 8
MAX_ALIKE = 200
KEEP_S = 600  # of numbers and facets, while nothing is imported or edited: a million items are a second's work
ALIKE = 0.33  # one wrong letter in a short word: "jeens"; at 0.6, the default, only long words may have one


@dataclass(frozen=True, slots=True)
class Found:
    """What matches, for a paginator. Units: facet → value → how many."""

    rows: QuerySet[Wearable]
    total: int
    facets: dict[str, list[dict[str, Any]]]

    def count(self) -> int:
        return self.total

    def __getitem__(self, which: slice) -> QuerySet[Wearable]:
        return self.rows[which]


class _Says(Func):
    """Every word stands in it, or begins one that does."""

    template = "to_tsvector('english', %(expressions)s)"
    output_field = BooleanField()

    def __init__(self, term: str) -> None:
        super().__init__(F("words"), Value(term), arg_joiner=") @@ to_tsquery('english', ")


class _Resembles(Func):
    """The words, as they may be misspelt, or a part of them; by the index of trigrams."""

    template = "(%(expressions)s)"
    output_field = BooleanField()

    def __init__(self, term: str) -> None:
        super().__init__(F("words"), Value(term), arg_joiner=" %%> ")


def on_offer() -> QuerySet[Wearable]:
    return Wearable.objects.on_offer().order_by("sort_order", "id")


def search(among: QuerySet[Wearable], term: str) -> QuerySet[Wearable]:
    """Those that say all words of the term, the nearest first; where there is none, those that hold it or look like it.

    Asks up to three times to find out.
    """
    term = " ".join(term.lower().split())
    words = re.findall(r"[^\W_]+", term)[:MAX_WORDS]
    said = among.filter(_Says(" & ".join(f"{word}:*" for word in words))) if words else among.none()
    part = among.filter(words__contains=term)
    alike = Func(Value(term), F("words"), function="word_similarity", output_field=FloatField()).desc()
    with _by_index():
        if said.exists():
            return said.order_by(_nearness(term), "sort_order", "id")
        if part.exists():
            return part.order_by("sort_order", "id")
        few = among.filter(_Resembles(term)).order_by(alike, "sort_order", "id")
        found = list(few.values_list("pk", flat=True)[:MAX_ALIKE])
    return among.filter(pk__in=found).order_by(alike, "sort_order", "id")


@contextmanager
def _by_index() -> Iterator[None]:
    """A transaction that looks words up. Left alone, PostgreSQL thinks that it soon meets one that begins so, and reads
    the words of every item when there is none: ten seconds for 200,000. How alike is enough, it is told here too."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('enable_seqscan', 'off', true), set_config('enable_indexscan', 'off', true),"
            " set_config('pg_trgm.word_similarity_threshold', %s, true)",
            [str(ALIKE)],
        )
        yield


def _nearness(term: str) -> Combinable:
    """The name itself, then what begins so, then what holds the term as it was typed. Cheap: no rank is reckoned."""
    found = Func(F("words"), Value(term), function="strpos", output_field=IntegerField())
    begins = Func(F("words"), Value(term), function="starts_with", output_field=BooleanField())
    name = Func(F("name"), function="lower", output_field=TextField())
    is_name = Func(name, Value(term), template="(%(expressions)s)", arg_joiner=" = ", output_field=BooleanField())
    ranks = [When(is_name, then=0), When(begins, then=1)]
    return Case(
        *ranks, When(Func(found, template="(%(expressions)s > 0)", output_field=BooleanField()), then=2), default=3
    )


def found(rows: QuerySet[Wearable]) -> Found:
    """The matching items with their number and facets; these are kept, so that turning a page does not count anew."""
    try:
        sql, values = rows.order_by().values_list(*FACETS).query.sql_with_params()
    except EmptyResultSet:
        return Found(rows, 0, {name: [] for name in FACETS})
    question = hashlib.sha256(f"{sql}{values}".encode()).hexdigest()
    counted = orjson.loads(
        public.answer("wearables", f"facets:{question}", lambda: _count(sql, values), keep_s=KEEP_S).body
    )
    return Found(rows, counted["total"], counted["facets"])


def _count(sql: str, values: Any) -> bytes:
    """Each facet is counted over the combinations that there are, of which there are few, not over the items."""
    plain = [name for name in FACETS if name != "tags"]
    as_text = ", ".join(f"{name}::text" for name in plain)
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH found ({", ".join(FACETS)}) AS ({sql}), alike AS MATERIALIZED (
                SELECT {", ".join(FACETS)}, count(*) AS n FROM found GROUP BY {", ".join(FACETS)}
            ), counted AS (
                SELECT grouping({", ".join(plain)}) AS facet, coalesce({as_text}) AS value,
                    coalesce(sum(n), 0)::bigint AS n
                FROM alike GROUP BY GROUPING SETS ((), {", ".join(f"({name})" for name in plain)})
                UNION ALL
                SELECT -1, tag, sum(n)::bigint FROM alike CROSS JOIN unnest(tags) AS tag GROUP BY tag
            ), ranked AS (
                SELECT *, row_number() OVER (PARTITION BY facet ORDER BY n DESC, value) AS place FROM counted
            )
            SELECT facet, value, n FROM ranked WHERE place <= {MAX_VALUES} ORDER BY facet, n DESC, value
            """,
            values,
        )
        rows = cursor.fetchall()
    # Of a set of one, every bit is set but its own.
    every = (1 << len(plain)) - 1
    names = {every ^ (1 << (len(plain) - 1 - place)): name for place, name in enumerate(plain)} | {-1: "tags"}
    facets: dict[str, list[dict[str, Any]]] = {name: [] for name in FACETS}
    for facet, value, n in rows:
        if facet in names and value != "":
            shown = value == "true" if names[facet] == "has_image" else value
            facets[names[facet]].append({"value": shown, "count": n})
    return orjson.dumps({"total": next(n for facet, _, n in rows if facet == every), "facets": facets})


def categories() -> list[dict[str, Any]]:
    """Categories by name, with how many items are on offer in each. One query."""
    rows = Wearable.objects.on_offer().values("category").annotate(count=Count("id")).order_by("category")
    return [dict(row) for row in rows[:MAX_CATEGORIES]]


def wearable(wearable_id: UUID) -> Wearable:
    """Raises: NotFound for one that is not on offer."""
    row = Wearable.objects.on_offer().filter(pk=wearable_id).first()
    if row is None:
        raise NotFound
    return row


def selections(user: Any) -> QuerySet[Selection]:
    """The newest first; items that are off by now too."""
    return Selection.objects.filter(user=user).select_related("wearable").order_by("-id")


def customizations(user: Any) -> QuerySet[Customization]:
    return Customization.objects.visible_to(user).order_by("-created_at", "-id")

"""What lies on the shelf and what of it is promised. Everything here runs inside the transaction of an order's change.

Locks: products by id, after the order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet

from core import public
from store.models import Product

# Conditional, although the rows are locked: no path sells what is not there.
_RESERVE = """
UPDATE store_product p SET reserved = p.reserved + w.quantity
FROM unnest(%s::uuid[], %s::int[]) AS w(id, quantity) WHERE p.id = w.id AND p.stock - p.reserved >= w.quantity
"""
_RELEASE = """
UPDATE store_product p SET reserved = p.reserved - w.quantity
FROM unnest(%s::uuid[], %s::int[]) AS w(id, quantity) WHERE p.id = w.id AND p.reserved >= w.quantity
"""
_SHIP = """
UPDATE store_product p SET reserved = p.reserved - w.quantity, stock = p.stock - w.quantity
FROM unnest(%s::uuid[], %s::int[]) AS w(id, quantity) WHERE p.id = w.id AND p.reserved >= w.quantity
"""


def lock(ids: Iterable[UUID]) -> dict[UUID, Product]:
    """The products as they are now, locked until the transaction ends; none else can promise or ship them."""
    rows: QuerySet[Product] = Product.objects.select_for_update(of=("self",), no_key=True)
    return {row.pk: row for row in rows.filter(pk__in=list(ids)).order_by("pk")}


def short(products: Mapping[UUID, Product], wanted: Mapping[UUID, int]) -> dict[UUID, int]:
    """Of which locked products there are not enough, and how many there are."""
    return {pk: products[pk].available for pk, quantity in wanted.items() if products[pk].available < quantity}


def reserve(wanted: Mapping[UUID, int]) -> None:
    """Promise locked products, of which there are enough."""
    _move(_RESERVE, wanted)


def release(wanted: Mapping[UUID, int]) -> None:
    """Take a promise back: they can be ordered again."""
    lock(wanted)
    _move(_RELEASE, wanted)


def ship(wanted: Mapping[UUID, int]) -> None:
    """What was promised leaves the shelf."""
    lock(wanted)
    _move(_SHIP, wanted)


def _move(statement: str, wanted: Mapping[UUID, int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, [list(wanted), list(wanted.values())])
        if cursor.rowcount != len(wanted):
            raise RuntimeError(f"the stock of {len(wanted)} products moved for {cursor.rowcount} only")
    public.changed("products")

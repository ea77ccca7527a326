"""Reading products and orders; orders always as somebody."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from core.errors import NotFound
from store.models import Order, Product


def products() -> QuerySet[Product]:
    """What is for sale, newest first."""
    return Product.objects.shown().select_related("model_file").order_by("-created_at", "-id")


def product(product_id: UUID) -> Product:
    """One that is for sale.

    Raises: NotFound.
    """
    found = products().filter(pk=product_id).first()
    if found is None:
        raise NotFound
    return found


def orders(user: Any) -> QuerySet[Order]:
    """The person's orders, newest first: two queries however many."""
    return Order.objects.visible_to(user).prefetch_related("lines").order_by("-created_at", "-id")


def everybodys_orders() -> QuerySet[Order]:
    """What staff see who ship them, newest first: two queries however many."""
    return Order.objects.prefetch_related("lines").order_by("-created_at", "-id")


def order(user: Any, order_id: UUID) -> Order:
    """One of the person's orders.

    Raises: NotFound.
    """
    found = orders(user).filter(pk=order_id).first()
    if found is None:
        raise NotFound
    return found

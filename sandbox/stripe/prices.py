"""Products and their prices, found again by a lookup key."""

from __future__ import annotations

from typing import Any

from sandbox.box import Box
from sandbox.state import Doc
from sandbox.stripe import forms, objects
from sandbox.stripe.errors import StripeError

FIELDS = {
    "currency", "lookup_key", "metadata", "product", "product_data", "recurring", "transfer_lookup_key", "unit_amount",
}  # fmt: skip


def create_product(box: Box, params: dict[str, Any]) -> Doc:
    forms.refuse_unknown(params, {"name", "description", "metadata"})
    product = objects.made(
        "product", active=True, name=forms.required(params, "name"), description=forms.text(params, "description"),
        metadata=forms.metadata(params),
    )  # fmt: skip
    objects.save(box, product)
    return product


def create(box: Box, params: dict[str, Any]) -> Doc:
    """A lookup key names one price: it is refused if taken, unless it is to be transferred."""
    forms.refuse_unknown(params, FIELDS)
    recurring = params.get("recurring")
    if recurring:
        forms.refuse_unknown(recurring, {"interval", "interval_count"}, "recurring")
        interval = forms.among(recurring, "interval", ("day", "week", "month", "year"))
        recurring = {"interval": interval, "interval_count": 1, "usage_type": "licensed"}
    if params.get("product_data"):
        product = create_product(box, params["product_data"])["id"]
    else:
        product = objects.load(box, "product", forms.required(params, "product"), param="product", status=400)["id"]
    key = forms.text(params, "lookup_key", longest=200)
    taken = [doc for doc in objects.every(box, "price") if key and doc["lookup_key"] == key]
    if taken and not forms.flag(params, "transfer_lookup_key"):
        raise StripeError(f"A price (`{taken[0]['id']}`) already uses that lookup key.", "lookup_key")
    price = objects.made(
        "price",
        active=True,
        billing_scheme="per_unit",
        currency=forms.currency(params),
        lookup_key=key,
        metadata=forms.metadata(params),
        product=product,
        recurring=recurring,
        type="recurring" if recurring else "one_time",
        unit_amount=forms.whole(params, "unit_amount"),
    )
    with box.store.transaction():
        for doc in taken:
            objects.save(box, doc | {"lookup_key": None})
        objects.save(box, price)
    return price


def listed(box: Box, params: dict[str, Any]) -> Doc:
    keys = params.get("lookup_keys")
    is_active = forms.flag(params, "active", True)
    rest = {name: value for name, value in params.items() if name not in ("active", "lookup_keys")}
    found = objects.listed(box, "price", rest, url="/v1/prices", by=("product",))
    if keys is not None:
        wanted = [objects.public(doc) for doc in objects.every(box, "price") if doc["lookup_key"] in keys]
        wanted = [doc for doc in wanted if doc["active"] is is_active]
        found |= {"data": wanted, "has_more": False}
    return found

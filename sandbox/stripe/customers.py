"""Customers: whoever pays, known by an id."""

from __future__ import annotations

from typing import Any

from sandbox.box import Box
from sandbox.state import Doc
from sandbox.stripe import forms, objects

FIELDS = {"description", "email", "metadata", "name", "phone"}


def create(box: Box, params: dict[str, Any]) -> Doc:
    forms.refuse_unknown(params, FIELDS)
    customer = objects.made(
        "customer",
        balance=0,
        currency=None,
        default_source=None,
        delinquent=False,
        invoice_settings={"custom_fields": None, "default_payment_method": None, "footer": None},
        metadata=forms.metadata(params),
        **{name: forms.text(params, name) for name in FIELDS - {"metadata"}},
    )
    objects.save(box, customer)
    return customer


def edit(box: Box, customer: Doc, params: dict[str, Any]) -> Doc:
    forms.refuse_unknown(params, FIELDS)
    customer |= {name: forms.text(params, name) for name in params if name in FIELDS - {"metadata"}}
    customer["metadata"] |= forms.metadata(params)
    objects.save(box, customer)
    return customer

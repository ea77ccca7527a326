"""What is sold in the ops console: each change is asked for with its reason, and a colleague lets it happen."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from unfold.enums import ActionVariant
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from billing import staff_offers, staff_prices
from billing.admin.payments import money
from billing.models import CreditPrice, Interval, Package, Plan
from core.admin import MoneyField, PreviewForm, ReadOnlyModelAdmin, act, row_of
from core.ids import new_id


def _number(label: str) -> forms.IntegerField:
    return forms.IntegerField(label=label, min_value=0, widget=UnfoldAdminIntegerFieldWidget(attrs={"min": 0}))


def _flag(label: str) -> forms.BooleanField:
    return forms.BooleanField(label=label, required=False, widget=UnfoldBooleanWidget)


def _name() -> forms.CharField:
    return forms.CharField(label="Name", max_length=80, widget=UnfoldAdminTextInputWidget)


def _code() -> forms.CharField:
    return forms.CharField(label="Code", max_length=32, widget=UnfoldAdminTextInputWidget)


def _currency() -> forms.CharField:
    return forms.CharField(label="Currency", max_length=3, widget=UnfoldAdminTextInputWidget)


class PriceForm(PreviewForm):
    """Begins with the figures as they are."""

    kind = ""
    amount = MoneyField(label="Price")
    is_for_sale = _flag("Is for sale")
    # Sent twice, the form asks once.
    request_id = forms.UUIDField(initial=new_id, widget=forms.HiddenInput)

    def __init__(self, request: HttpRequest, object_id: Any = None, **kwargs: Any) -> None:
        row = row_of(staff_prices.FIELDS[self.kind][0], object_id)
        super().__init__(request, object_id, initial=self.begin_with(row) if row else {}, **kwargs)
        if row:
            self.fields["amount"].currency = row.currency
            self.fields["amount"].label = self.price_of(row)

    def price_of(self, row: Any) -> str:
        return f"Price, in {row.currency}"

    def begin_with(self, row: Any) -> dict[str, Any]:
        return staff_prices.figures(row)


class PackageForm(PriceForm):
    kind = "package"
    name = _name()
    credits = _number("Credits")
    is_popular = _flag("Is marked as popular")
    is_shown = _flag("Is shown")
    field_order = ["name", "amount", "credits", "is_popular", "is_shown", "is_for_sale", "reason"]


class CreditPriceForm(PriceForm):
    kind = "credit_price"
    least = _number("Least credits of a purchase")
    most = _number("Most credits of a purchase")
    field_order = ["amount", "least", "most", "is_for_sale", "reason"]


class PlanForm(PriceForm):
    kind = "plan"
    name = _name()
    credits = _number("Credits a month")
    max_avatars = _number("Avatars")
    field_order = ["name", "amount", "credits", "max_avatars", "is_for_sale", "reason"]


class OfferForm(PriceForm):
    """Begins with the likeness of what the new one is to be sold beside."""

    def begin_with(self, row: Any) -> dict[str, Any]:
        return staff_offers.terms(row)

    def price_of(self, row: Any) -> str:
        return "Price, in that currency" if "currency" in self.fields else super().price_of(row)

    def clean_currency(self) -> str:
        """Comes before the price, which is in it."""
        self.fields["amount"].currency = currency = str(self.cleaned_data["currency"]).upper()
        return currency


class NewPackageForm(OfferForm, PackageForm):
    code = _code()
    currency = _currency()
    field_order = ["code", "currency", *PackageForm.field_order]


class NewCreditPriceForm(OfferForm, CreditPriceForm):
    currency = _currency()
    field_order = ["currency", *CreditPriceForm.field_order]


class NewPlanForm(OfferForm, PlanForm):
    code = _code()
    interval = forms.ChoiceField(label="By the", choices=Interval.choices, widget=UnfoldAdminSelectWidget)
    field_order = ["code", "interval", *PlanForm.field_order]


def _preview(row: Any, given: dict[str, Any]) -> list[str]:
    return staff_prices.preview(row, _figures(row, given))


def _figures(row: Any, given: dict[str, Any]) -> dict[str, Any]:
    return {field: given[field] for field in staff_prices.figures(row)}


def _button(form: type[PriceForm], explanation: str) -> Any:
    """The act of one kind of thing that is sold."""

    def change_price(self: Any, request: HttpRequest, row: Any, given: dict[str, Any]) -> str:
        staff_prices.ask(
            request_id=given["request_id"],
            kind=form.kind,
            row_id=row.pk,
            new=_figures(row, given),
            reason=given["reason"],
            actor=request.user,
        )
        return "This waits for a colleague's approval."

    return act(
        "Change",
        permission=staff_prices.REPRICE,
        explanation=explanation,
        form=form,
        preview=_preview,
        variant=ActionVariant.PRIMARY,
    )(change_price)


def _offer(form: type[OfferForm], explanation: str) -> Any:
    """The act that sells another one of a kind."""

    def asked_for(row: Any, given: dict[str, Any]) -> dict[str, Any]:
        return {field: given[field] for field in staff_offers.terms(row)}

    def sell_another(self: Any, request: HttpRequest, row: Any, given: dict[str, Any]) -> str:
        staff_offers.ask(
            request_id=given["request_id"],
            kind=form.kind,
            like_id=row.pk,
            new=asked_for(row, given),
            reason=given["reason"],
            actor=request.user,
        )
        return "This waits for a colleague's approval."

    return act(
        "Sell another",
        permission=staff_prices.REPRICE,
        explanation=explanation,
        form=form,
        preview=lambda row, given: staff_offers.preview(row, asked_for(row, given)),
    )(sell_another)


@admin.register(Package)
class PackageAdmin(ReadOnlyModelAdmin):
    list_display = [
        "code",
        "currency",
        "name",
        "credits",
        money("amount", "Price"),
        "is_popular",
        "is_shown",
        "is_for_sale",
    ]
    list_filter = ["currency", "is_for_sale"]
    ordering = ["currency", "position"]
    actions_detail = ["change_price", "sell_another"]
    change_price = _button(
        PackageForm, "A colleague has to approve. Payments that have begun keep what they were told."
    )
    sell_another = _offer(NewPackageForm, "Under another code, or in another currency. A colleague has to approve.")


@admin.register(CreditPrice)
class CreditPriceAdmin(ReadOnlyModelAdmin):
    list_display = ["currency", money("amount", "One credit"), "least", "most", "is_for_sale"]
    ordering = ["currency"]
    actions_detail = ["change_price", "sell_another"]
    change_price = _button(
        CreditPriceForm, "A colleague has to approve. Payments that have begun keep what they were told."
    )
    sell_another = _offer(NewCreditPriceForm, "In another currency. A colleague has to approve.")


@admin.register(Plan)
class PlanAdmin(ReadOnlyModelAdmin):
    list_display = [
        "code",
        "interval",
        "edition",
        "name",
        money("amount", "Price"),
        "credits",
        "max_avatars",
        "is_for_sale",
        "retired_at",
        "price_ref",
    ]
    list_filter = ["interval", ("retired_at", admin.EmptyFieldListFilter)]
    ordering = ["interval", "position", "-edition"]
    actions_detail = ["change_price", "sell_another"]
    change_price = _button(
        PlanForm,
        "A colleague has to approve. Another price, number of credits or of avatars is sold as the next edition; "
        "subscribers keep theirs until they change.",
    )
    sell_another = _offer(NewPlanForm, "Under another code, or by another interval. A colleague has to approve.")

    def is_apt(self, act: str, found: Plan) -> bool:
        return found.retired_at is None

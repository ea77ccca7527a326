"""The ops console's pages for the store."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db import transaction
from django.http import HttpRequest
from unfold.admin import TabularInline
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminTextInputWidget, UnfoldAdminURLInputWidget

from core.admin import ModelAdmin, MoneyField, ReadOnlyModelAdmin, ReasonForm, act
from core.errors import Invalid
from core.money import display
from store import orders, products
from store.models import Order, OrderLine, OrderState, Product

PROCESS = "store.process_order"


class ProductForm(forms.ModelForm):
    actor: Any  # who edits it; set by the page
    amount = MoneyField(label="Price", help_text="In the currency below.")
    image_url = forms.URLField(max_length=2000, required=False, assume_scheme="https", widget=UnfoldAdminURLInputWidget)

    class Meta:
        model = Product
        fields = products.FIELDS

    field_order = ["currency"]  # is known before the price, which is in it

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._sell_in(self.instance.currency)

    def clean_currency(self) -> str:
        self._sell_in(self.cleaned_data["currency"])
        return str(self.cleaned_data["currency"])

    def _sell_in(self, currency: str) -> None:
        amount: Any = self.fields["amount"]
        amount.currency = currency

    def clean_stock(self) -> int:
        stock: int = self.cleaned_data["stock"]
        if stock < self.instance.reserved:
            raise forms.ValidationError(f"{self.instance.reserved} are reserved for orders that have not been shipped.")
        return stock

    def clean_model(self) -> Any:
        model = self.cleaned_data["model"]
        if model != self.instance.model:
            try:
                with transaction.atomic():
                    products.model_file(self.actor, model)
            except Invalid as error:
                raise forms.ValidationError(error.details[0]["message"]) from error
        return model


@admin.register(Product)
class ProductAdmin(ModelAdmin):
    """Saves and removes through the topic's functions, so that each leaves its audit row."""

    form = ProductForm
    list_display = ["name", "category", "price", "stock", "reserved", "is_active", "updated_at"]
    list_filter = ["is_active", "category", "currency"]
    search_fields = ["name", "id__exact"]
    readonly_fields = ["reserved", "updated_at"]
    ordering = ["-created_at"]

    @admin.display(description="price")
    def price(self, found: Product) -> str:
        return display(found.amount, found.currency)

    def get_form(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        form = super().get_form(request, *args, **kwargs)
        return type(form.__name__, (form,), {"actor": request.user})

    def save_model(self, request: HttpRequest, obj: Product, form: Any, change: bool) -> None:
        products.save(obj, changed=form.changed_data if change else products.FIELDS, actor=request.user)

    def delete_model(self, request: HttpRequest, obj: Product) -> None:
        products.remove(product_id=obj.pk, actor=request.user)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for obj in queryset:
            products.remove(product_id=obj.pk, actor=request.user)


class LineInline(TabularInline):
    model = OrderLine
    extra = 0
    can_delete = False
    fields = ["position", "name", "quantity", "price", "product"]
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("order", "product")

    @admin.display(description="price of one")
    def price(self, line: OrderLine) -> str:
        return display(line.amount, line.order.currency)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ShippingForm(ReasonForm):
    tracking = forms.CharField(
        label="Tracking number", max_length=100, required=False, widget=UnfoldAdminTextInputWidget
    )
    field_order = ["tracking", "reason"]


@admin.register(Order)
class OrderAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "id", "user", "state", "total", "payment", "expires_at", "shipped_at"]
    list_select_related = ["user", "payment"]
    list_filter = ["state", "because", "currency"]
    search_fields = ["id__exact", "user__email__exact", "payment__id__exact", "tracking__exact"]
    ordering = ["-created_at"]
    exclude = ["amount"]
    readonly_fields = ["total"]
    inlines = [LineInline]
    actions_detail = ["ship", "deliver", "cancel"]

    @admin.display(description="total")
    def total(self, found: Order) -> str:
        return display(found.amount, found.currency)

    def is_apt(self, act: str, found: Order) -> bool:
        return found.state in {
            "ship": (OrderState.CONFIRMED,),
            "deliver": (OrderState.SHIPPED,),
            "cancel": (OrderState.PENDING, OrderState.CONFIRMED),
        }.get(act, ())

    @act(
        "Ship",
        permission=PROCESS,
        explanation="The goods have left the shelf; the buyer is told and can no longer cancel.",
        form=ShippingForm,
        variant=ActionVariant.PRIMARY,
        icon="local_shipping",
    )
    def ship(self, request: HttpRequest, found: Order, given: dict[str, Any]) -> str:
        self._advance(request, found, given, OrderState.SHIPPED, tracking=given["tracking"])
        return "Shipped."

    @act("Deliver", permission=PROCESS, explanation="The goods have arrived.", icon="inventory")
    def deliver(self, request: HttpRequest, found: Order, given: dict[str, Any]) -> str:
        self._advance(request, found, given, OrderState.DELIVERED)
        return "Delivered."

    @act(
        "Cancel",
        permission=PROCESS,
        explanation="All that was paid goes back, the stock is free again, and the buyer is told.",
        variant=ActionVariant.DANGER,
        icon="cancel",
    )
    def cancel(self, request: HttpRequest, found: Order, given: dict[str, Any]) -> str:
        self._advance(request, found, given, OrderState.CANCELED)
        return "Canceled."

    def _advance(self, request: HttpRequest, found: Order, given: dict[str, Any], status: str, **more: str) -> None:
        orders.advance(found.pk, status=status, actor=request.user, reason=given["reason"], **more)


@admin.register(OrderLine)
class OrderLineAdmin(ReadOnlyModelAdmin):
    list_display = ["order", "position", "name", "quantity", "amount"]
    list_select_related = ["order"]
    search_fields = ["order__id__exact", "product__id__exact"]
    ordering = ["-id"]

"""What is sold and what is not made: staff edit both, every edit is audited."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminTextareaWidget

from billing.staff_prices import REPRICE
from core.admin import ModelAdmin, PreviewForm, act, row_of
from core.ids import new_id
from generation import catalogue, moderation, staff_prices
from generation.models import BlockedTerm, Operation

SWITCH = "generation.switch_operation"


class _Audited(ModelAdmin):
    """Saves and deletes through the topic's functions, so that each leaves its audit row."""

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        catalogue.save(obj, changed=form.changed_data, actor=request.user)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        catalogue.remove(obj, actor=request.user)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for obj in queryset:
            catalogue.remove(obj, actor=request.user)


class PriceForm(PreviewForm):
    """Begins with the figures as they are."""

    base_price = forms.IntegerField(
        label="Price, in credits", min_value=1, widget=UnfoldAdminIntegerFieldWidget(attrs={"min": 1})
    )
    multipliers = forms.JSONField(required=False, widget=UnfoldAdminTextareaWidget(attrs={"rows": 5}))
    # Sent twice, the form asks once.
    request_id = forms.UUIDField(initial=new_id, widget=forms.HiddenInput)
    field_order = [*staff_prices.FIELDS, "reason"]

    def __init__(self, request: HttpRequest, object_id: Any = None, **kwargs: Any) -> None:
        row = row_of(Operation, object_id)
        super().__init__(request, object_id, initial=staff_prices.figures(row) if row else {}, **kwargs)

    def clean_multipliers(self) -> Any:
        return self.cleaned_data["multipliers"] or {}


def _figures(given: dict[str, Any]) -> dict[str, Any]:
    return {field: given[field] for field in staff_prices.FIELDS}


@admin.register(Operation)
class OperationAdmin(_Audited):
    list_display = [
        "code",
        "kind",
        "title",
        "provider",
        "base_price",
        "is_default",
        "is_enabled",
        "is_paused",
        "fallback",
    ]
    list_select_related = ["fallback"]
    list_filter = ["kind", "provider", "is_enabled"]
    fieldsets = [
        (None, {"fields": ["code", "kind", "title", "provider", "model", "is_enabled", "is_paused", "is_default"]}),
        (
            "Price",
            {
                "fields": staff_prices.FIELDS,
                "description": "Once it is there, finance asks for another by Change price, and a colleague approves.",
            },
        ),
        ("Order", {"fields": ["limits", "photos_min", "photos_max", "needs_consent", "fallback", "updated_at"]}),
    ]
    actions_detail = ["change_price", "switch_off", "switch_on"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ["updated_at", *(staff_prices.FIELDS if obj else ())]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def is_apt(self, act: str, found: Operation) -> bool:
        return {"switch-off": found.is_enabled, "switch-on": found.is_paused}.get(act, True)

    @act(
        "Change price",
        permission=REPRICE,
        explanation="A colleague has to approve. Jobs that have been ordered keep what they were told.",
        form=PriceForm,
        preview=lambda operation, given: staff_prices.preview(operation, _figures(given)),
    )
    def change_price(self, request: HttpRequest, found: Operation, given: dict[str, Any]) -> str:
        staff_prices.ask(
            request_id=given["request_id"],
            operation_id=found.pk,
            new=_figures(given),
            reason=given["reason"],
            actor=request.user,
        )
        return "This waits for a colleague's approval."

    @act(
        "Switch provider off",
        permission=SWITCH,
        explanation="Takes everything that this provider makes off sale. Jobs that have begun go on. Switching it on "
        "puts just that back: what is off already stays off.",
        form=PreviewForm,
        preview=lambda operation, given: _told(operation.provider, is_enabled=False),
        variant=ActionVariant.DANGER,
    )
    def switch_off(self, request: HttpRequest, found: Operation, given: dict[str, Any]) -> str:
        return self._switch(request, found, given, is_enabled=False)

    @act(
        "Switch provider on",
        permission=SWITCH,
        explanation="Puts on sale again what went off with this provider. What was off before stays off.",
        form=PreviewForm,
        preview=lambda operation, given: _told(operation.provider, is_enabled=True),
        variant=ActionVariant.PRIMARY,
    )
    def switch_on(self, request: HttpRequest, found: Operation, given: dict[str, Any]) -> str:
        return self._switch(request, found, given, is_enabled=True)

    def _switch(self, request: HttpRequest, found: Operation, given: dict[str, Any], *, is_enabled: bool) -> str:
        switched = catalogue.switch(found.provider, is_enabled=is_enabled, actor=request.user, reason=given["reason"])
        return f"{'On' if is_enabled else 'Off'}: {', '.join(switched)}."


def _told(provider: str, *, is_enabled: bool) -> list[str]:
    """What would be switched, and what would not be switched on."""
    switched = list(catalogue.to_be_switched(provider, is_enabled=is_enabled))
    off = Operation.objects.filter(provider=provider, is_enabled=False).exclude(pk__in=[row.pk for row in switched])
    return [
        *(f"{'On' if is_enabled else 'Off'}: {operation.code}, {operation.title}" for operation in switched),
        *(f"Stays off: {operation.code}, {operation.title}" for operation in off.order_by("code")),
    ]


class BlockedTermForm(forms.ModelForm):
    class Meta:
        model = BlockedTerm
        fields = ("term", "category", "is_active", "note")

    def clean_term(self) -> str:
        term: str = self.cleaned_data["term"]
        if not moderation.words(term):
            raise forms.ValidationError("A term has at least one letter or digit: this would never be found.")
        return term


@admin.register(BlockedTerm)
class BlockedTermAdmin(_Audited):
    form = BlockedTermForm
    list_display = ["term", "category", "is_active", "note", "updated_at"]
    list_filter = ["category", "is_active"]
    search_fields = ["term"]
    readonly_fields = ["updated_at"]

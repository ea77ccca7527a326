"""What is sold and what is not made: staff edit both, every edit is audited."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from unfold.enums import ActionVariant

from core.admin import ModelAdmin, PreviewForm, act
from generation import catalogue, moderation
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
    readonly_fields = ["updated_at"]
    actions_detail = ["switch_off", "switch_on"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def is_apt(self, act: str, found: Operation) -> bool:
        return found.is_enabled if act == "switch-off" else found.is_paused

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

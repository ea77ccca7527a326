"""What is sold and what is not made: staff edit both, every edit is audited."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from core.admin import ModelAdmin
from generation import catalogue, moderation
from generation.models import BlockedTerm, Operation


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
    list_display = ["code", "kind", "title", "provider", "base_price", "is_default", "is_enabled", "fallback"]
    list_select_related = ["fallback"]
    list_filter = ["kind", "provider", "is_enabled"]
    readonly_fields = ["updated_at"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


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

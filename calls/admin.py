"""Calls in the ops console: to be read; they end by themselves."""

from __future__ import annotations

from django.contrib import admin

from calls import terms
from calls.models import Call
from core.admin import ReadOnlyModelAdmin
from core.money import display


@admin.register(Call)
class CallAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "caller", "callee", "recipient_phone", "type", "state", "reason", "billed_s", "price"]
    list_select_related = ["caller", "callee"]
    list_filter = ["state", "reason", "type"]
    search_fields = ["id__exact", "caller__email__exact", "callee__email__exact", "recipient_phone__exact"]
    ordering = ["-created_at", "-id"]

    @admin.display(description="cost", ordering="cost")
    def price(self, call: Call) -> str:
        return display(call.cost, terms.UNIT)

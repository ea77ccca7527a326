"""Calls in the ops console: to be read, and to be ended where they do not end by themselves soon enough."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.enums import ActionVariant

from calls import calling, terms
from calls.models import Call, Reason
from core.admin import ReadOnlyModelAdmin, act
from core.money import display


@admin.register(Call)
class CallAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "caller", "callee", "recipient_phone", "type", "state", "reason", "billed_s", "price"]
    list_select_related = ["caller", "callee"]
    list_filter = ["state", "reason", "type"]
    search_fields = ["id__exact", "caller__email__exact", "callee__email__exact", "recipient_phone__exact"]
    ordering = ["-created_at", "-id"]
    customer = "caller_id"
    actions_detail = ["end"]

    def is_apt(self, act: str, call: Call) -> bool:
        return call.is_open

    @act(
        "End",
        permission="calls.end_call",
        explanation="It ends at once. What was talked until now is paid by the caller, the rest of the hold is free.",
        variant=ActionVariant.DANGER,
        icon="call_end",
    )
    def end(self, request: HttpRequest, call: Call, given: dict[str, Any]) -> str:
        ended = calling.end_by_staff(call.pk, actor=request.user, reason=given["reason"])
        return f"{Reason(ended.reason).label}; {display(ended.cost, terms.UNIT)} for {ended.billed_s} s."

    @admin.display(description="cost", ordering="cost")
    def price(self, call: Call) -> str:
        return display(call.cost, terms.UNIT)

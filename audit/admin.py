from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import StackedInline
from unfold.enums import ActionVariant

from audit import approvals
from audit.models import Approval, ApprovalState, AuditDetail, AuditLog, DayTotal, Seal
from core.admin import ReadOnlyModelAdmin, act
from core.money import display


class AuditDetailInline(StackedInline):
    model = AuditDetail
    exclude = ["salt"]
    can_delete = False
    max_num = 0


@admin.register(AuditLog)
class AuditLogAdmin(ReadOnlyModelAdmin):
    list_display = ["at", "action", "entity_type", "entity_id", "user_id", "actor_id", "source", "request_id"]
    list_filter = ["source"]
    search_fields = ["entity_id__exact", "action__exact", "request_id__exact"]
    ordering = ["-id"]
    inlines = [AuditDetailInline]
    exclude = ["detail_hash"]


@admin.register(AuditDetail)
class AuditDetailAdmin(ReadOnlyModelAdmin):
    list_display = ["log_id", "ip", "user_agent"]
    search_fields = ["ip__exact"]
    ordering = ["-log_id"]
    exclude = ["salt"]


@admin.register(Seal)
class SealAdmin(ReadOnlyModelAdmin):
    list_display = ["number", "at", "until_at", "rows", "shown_hash"]
    exclude = ["previous", "content", "hash", "members", "leaves"]
    readonly_fields = ["shown_hash"]
    ordering = ["-number"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Seal]:
        seals: QuerySet[Seal] = super().get_queryset(request)
        return seals.defer("members", "leaves")

    @admin.display(description="hash")
    def shown_hash(self, seal: Seal) -> str:
        return bytes(seal.hash).hex()


@admin.register(Approval)
class ApprovalAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "summary", "state", "requester", "approver", "expires_at"]
    list_display_links = ["created_at", "summary"]
    list_select_related = ["requester", "approver"]
    list_filter = ["state"]
    search_fields = ["id__exact", "customer__id__exact", "requester__email__startswith"]
    search_help_text = "A whole id of an approval or a customer, or the beginning of the requester's address"
    ordering = ["-created_at"]
    actions_detail = ["approve", "refuse"]

    def is_apt(self, act: str, found: Approval) -> bool:
        return found.state == ApprovalState.PENDING

    @act(
        "Approve",
        permission="audit.decide_approval",
        explanation="It is done at once, in your name beside the requester's.",
        variant=ActionVariant.PRIMARY,
    )
    def approve(self, request: HttpRequest, approval: Approval, given: dict[str, Any]) -> str:
        approvals.approve(approval.pk, approver=request.user, reason=given["reason"])
        return f"Approved and done: {approval.summary}"

    @act("Refuse", permission="audit.decide_approval", explanation="It will not be done.")
    def refuse(self, request: HttpRequest, approval: Approval, given: dict[str, Any]) -> str:
        approvals.refuse(approval.pk, approver=request.user, reason=given["reason"])
        return "Refused."


@admin.register(DayTotal)
class DayTotalAdmin(ReadOnlyModelAdmin):
    list_display = ["day", "scope", "total"]
    search_fields = ["scope__exact"]
    ordering = ["-day", "scope"]

    @admin.display(description="moved")
    def total(self, row: DayTotal) -> str:
        return display(row.amount, row.unit)
